"""Housekeeping: the lake's files, the warehouse's left-overs and Dagster's old runs, as assets on a schedule.

Belongs here: what is looked after, and what a run tells of it. Does not belong here: how a table is kept in order
(`resources.upkeep`), and how long rows are kept (`resources.retention`).

By default a run only looks: it says what it would do. The schedule's runs look first too, record it, and then do it.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import dagster as dg

from retail_assets.assets.common import OWNERS, POOL_WAREHOUSE, AssetDecorator
from retail_assets.contracts.tables import TABLES
from retail_assets.resources.clickhouse import ClickHouseResource
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.retention import keep_of
from retail_assets.resources.upkeep import TableKeeper, TableUpkeep, totals
from retail_assets.settings import get_settings

GROUP: Final = "housekeeping"
#: A staging table lives for as long as a write takes; one of yesterday is of a write that died.
_STAGING_LIVES: Final = timedelta(hours=24)
_OVER: Final = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_GOING_ON: Final = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


class HousekeepingConfig(dg.Config):
    """Whether to clean, or only to look.

    Attributes:
        dry_run: say what there is to do, and change nothing.
    """

    dry_run: bool = True


def _asset(kinds: set[str], **more: Any) -> AssetDecorator:
    decorator: AssetDecorator = dg.asset(key_prefix=GROUP, group_name=GROUP, kinds=kinds, owners=OWNERS, **more)
    return decorator


@_asset({"deltalake"})
def lake_files(
    context: dg.AssetExecutionContext, config: HousekeepingConfig, lake: LakeResource
) -> dg.MaterializeResult[None]:
    """Put small files of the lake's tables together, delete what nobody names any more, and rows older than are kept.

    Grain: one row per table in the metadata: rows, files and bytes before and after, and what there was to do. Other
    runs may work meanwhile: what would be at odds with them is left to the next time.
    """
    now = datetime.now(UTC)
    others = context.instance.get_run_ids(filters=dg.RunsFilter(statuses=_GOING_ON))
    is_busy = bool(set(others) - {context.run.run_id})
    found: list[TableUpkeep] = []
    for table in TABLES:
        keeper = TableKeeper(lake, table, keep_of(table, get_settings()), now, is_busy=is_busy)
        one = keeper.look() if config.dry_run else keeper.clean()
        if one is None:
            continue
        found.append(one)
        for note in one.notes:
            context.log.info("%s: %s", one.table, note)
    return dg.MaterializeResult(
        metadata={
            "dry_run": config.dry_run,
            **totals(found),
            "tables": dg.MetadataValue.table([_record(one) for one in found], schema=_SCHEMA),
        }
    )


_SCHEMA: Final = dg.TableSchema(
    columns=[
        dg.TableColumn("table", "string"),
        *(
            dg.TableColumn(name, "int")
            for name in (
                "rows_before",
                "rows_after",
                "files_before",
                "files_after",
                "bytes_before",
                "bytes_after",
                "small_files",
                "expired_rows",
                "removable_files",
                "removable_bytes",
                "old_log_files",
            )
        ),
        dg.TableColumn("notes", "string"),
    ]
)


def _record(one: TableUpkeep) -> dg.TableRecord:
    return dg.TableRecord({"table": one.table, **totals([one]), "notes": "; ".join(one.notes)})


@_asset({"clickhouse"}, pool=POOL_WAREHOUSE)
def warehouse_staging(
    context: dg.AssetExecutionContext, config: HousekeepingConfig, clickhouse: ClickHouseResource
) -> dg.MaterializeResult[None]:
    """Drop staging tables that writes to the warehouse left behind when they died, a day after they were made.

    Writers take turns with this through their pool, and one that dies is cleaned up after by the next write of the same
    table; this is for tables that nobody writes any more.
    """
    before = datetime.now(UTC) - _STAGING_LIVES
    with clickhouse.client(f"housekeeping {context.run.run_id}") as client:
        rows = client.query(
            "SELECT name, coalesce(total_rows, 0), coalesce(total_bytes, 0) FROM system.tables "
            "WHERE database = {database:String} AND position(name, '__') > 0 "
            "AND metadata_modification_time < toDateTime({before:UInt32})",
            parameters={"database": clickhouse.staging_database, "before": int(before.timestamp())},
        ).result_rows
        if not config.dry_run:
            for name, *_ in rows:
                client.command(f"DROP TABLE IF EXISTS {clickhouse.staging_database}.{name}")
    return dg.MaterializeResult(
        metadata={
            "dry_run": config.dry_run,
            "left_over_tables": len(rows),
            "left_over_rows": sum(int(count) for _, count, _ in rows),
            "left_over_bytes": sum(int(size) for *_, size in rows),
            "dropped": 0 if config.dry_run else len(rows),
        }
    )


@_asset({"dagster"})
def dagster_runs(context: dg.AssetExecutionContext, config: HousekeepingConfig) -> dg.MaterializeResult[None]:
    """Delete runs that ended long ago, with their events, as RETAIL_KEEP_RUNS_DAYS says; for ever by default.

    The newest run of each asset stays, so that the UI says when it was last made. Partitions whose run is deleted look
    as if they had never been made; the lake and the warehouse have them.
    """
    days = get_settings().keep_runs_days
    instance = context.instance
    old: list[str] = []
    if days:
        newest = {
            record.asset_entry.last_materialization_record.run_id
            for record in instance.get_asset_records()
            if record.asset_entry.last_materialization_record is not None
        }
        filters = dg.RunsFilter(statuses=_OVER, created_before=datetime.now(UTC) - timedelta(days=days))
        old = [run_id for run_id in instance.get_run_ids(filters=filters) if run_id not in newest]
    if not config.dry_run:
        for run_id in old:
            instance.delete_run(run_id)
    return dg.MaterializeResult(
        metadata={
            "dry_run": config.dry_run,
            "runs": instance.get_runs_count(),
            "old_runs": len(old),
            "deleted": 0 if config.dry_run else len(old),
        }
    )


def housekeeping_assets() -> list[dg.AssetsDefinition]:
    """Return the assets of housekeeping."""
    return [lake_files, warehouse_staging, dagster_runs]
