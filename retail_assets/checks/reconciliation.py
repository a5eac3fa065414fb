"""Whether the batch pipeline and the streaming service, which read the same topics, tell the same of the same hours.

It blocks nothing: facts are right without the streaming service. Does not belong here: what is compared with what, and
what may rightly differ (`domain.reconciliation`).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import dagster as dg
import polars as pl
from clickhouse_connect.driver.client import Client

from retail_assets.checks.results import result
from retail_assets.checks.statistical import judged_days
from retail_assets.contracts.tables import CORE_QUARANTINE, CORE_SALES_LINES
from retail_assets.contracts.thresholds import load_thresholds
from retail_assets.contracts.types import polars_schema
from retail_assets.domain.keys import UNKNOWN_KEY
from retail_assets.domain.reconciliation import (
    DIFFERENT,
    KEPT_OUT,
    LOOK_BACK_DAYS,
    MADE,
    SAME,
    SILENCE,
    TOO_MANY,
    UNCLEAR,
    compared_stretches,
    left_out_by_stream,
)
from retail_assets.resources.clickhouse import ClickHouseResource
from retail_assets.resources.coverage import made_at
from retail_assets.resources.lake import LakeResource
from retail_assets.settings import get_settings

#: How many differences the sentence names, and the table shows.
_TOLD: Final = 3
_SHOWN: Final = 1_000

_STREAM: Final = """
    SELECT store_id, toDateTime64(hour_start, 3, 'UTC') AS hour_start, units, revenue, updated_at
    FROM rt_revenue_hourly FINAL WHERE hour_start >= {first:Date} AND hour_start < {last:Date}
"""
_FACTS: Final = """
    SELECT s.store_id AS store_id, toDate32(f.business_date) AS business_date, f.business_hour AS business_hour,
        sum(f.units) AS units, sum(f.revenue) AS revenue
    FROM fact_sales AS f INNER JOIN dim_store AS s ON s.store_key = f.store_key
    WHERE f.business_date BETWEEN {first:Date} AND {last:Date}
    GROUP BY store_id, business_date, business_hour
"""
_STORES: Final = "SELECT store_id, time_zone FROM dim_store WHERE store_key != {unknown:UInt32}"
# Only seconds in which something was left out say anything, those before which rows are missing, and the oldest since
# when they are kept. Whether what doesn't go on is a gap, `left_out_by_stream` decides.
_PROGRESS: Final = """
    SELECT toDateTime64(at, 3, 'UTC') AS at, batch, batches, toDateTime64(previous_at, 3, 'UTC') AS previous_at,
        previous_batch, ahead, too_large, late, newest_event_at, watermark
    FROM (
        SELECT at, batch, batches, ahead, too_large, late, newest_event_at, watermark,
            lagInFrame(at, 1, toDateTime(0, 'UTC')) OVER in_order AS previous_at,
            lagInFrame(toInt64(batch), 1, toInt64(-1)) OVER in_order AS previous_batch,
            row_number() OVER in_order AS place
        FROM rt_query_progress FINAL
        WHERE query = 'sales'
        WINDOW in_order AS (ORDER BY at ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    )
    WHERE ahead + too_large + late > 0 OR place = 1 OR toInt64(batch) - toInt64(batches) != previous_batch
"""


def _read(client: Client, query: str, **parameters: Any) -> pl.DataFrame:
    return pl.DataFrame(client.query_arrow(query, parameters=parameters, use_strings=True))


def _made(lake: LakeResource, facts: pl.DataFrame, days: Sequence[date], started: datetime) -> pl.DataFrame:
    """Return the days that facts have been made of, and until when they know all that arrived.

    A run's days are made from what had arrived when it began; a day of an earlier run, when that made it.
    """
    delta = lake.delta(CORE_SALES_LINES)
    made: Mapping[date, datetime] = {} if delta is None else made_at(delta)
    there = set(facts["business_date"])
    rows = [(day, min(made[day], started)) for day in days if day in made and day in there]
    return pl.DataFrame(rows, schema=polars_schema(MADE), orient="row")


def _kept_out(lake: LakeResource, days: Sequence[date]) -> pl.DataFrame:
    columns = [*(column.name for column in KEPT_OUT), "line_no"]
    kept_out = [lake.read(CORE_QUARANTINE, on=day, columns=columns).filter(pl.col("line_no") > 0) for day in days]
    return pl.concat(kept_out) if kept_out else pl.DataFrame()


def _named(row: Mapping[str, Any]) -> str:
    begins, ends = row["begins"], row["ends"]
    until = f" to {ends:%H:%M}" if ends - begins > timedelta(hours=1) else ""
    return (
        f"store {row['store_id']}, {begins:%Y-%m-%d %H:%M}{until} UTC: {row['stream_units']:,.3f} units and "
        f"{row['stream_revenue']:,.2f} in real time, {row['units']:,.3f} and {row['revenue']:,.2f} in the facts"
    )


def verdict(stretches: pl.DataFrame, unknown: Sequence[str]) -> dg.AssetCheckResult:
    """Return the check's result.

    Args:
        stretches: from `compared_stretches`.
        unknown: stores that the stream tells of and the master data don't.
    """
    if stretches.is_empty():
        return result(
            passed=True,
            sentence="nothing to compare: no hour of these days is closed on both sides",
            observed=0,
            expected=0,
            threshold=0,
        )
    wrong = stretches.filter(pl.col("verdict").is_in([DIFFERENT, TOO_MANY])).sort(
        (pl.col("stream_revenue") - pl.col("revenue")).abs(), descending=True
    )
    too_many = wrong.filter(pl.col("verdict") == TOO_MANY).height
    unclear = stretches.filter(pl.col("verdict") == UNCLEAR).height
    hours = f"{stretches.height:,} hours of {stretches['store_id'].n_unique():,} stores"
    sentence = f"{stretches.height - unclear:,} of {hours} agree with the streaming service"
    if wrong.height:
        named = "; ".join(_named(row) for row in wrong.head(_TOLD).iter_rows(named=True))
        more = f"; and {wrong.height - _TOLD:,} more" if wrong.height > _TOLD else ""
        sentence = f"{wrong.height:,} of {hours} differ from the streaming service: {named}{more}"
    if too_many:
        sentence += f"; events were left out that may lie in {too_many:,} of these, but fewer than so many"
    if unclear:
        sentence += f"; {unclear:,} hours may rightly differ, since events were left out or came late"
    records = [
        dg.TableRecord({name: value if isinstance(value, int) else str(value) for name, value in row.items()})
        for row in wrong.head(_SHOWN).iter_rows(named=True)
    ]
    metadata: dict[str, Any] = {
        "compared": stretches.height,
        "same": stretches.filter(pl.col("verdict") == SAME).height,
        "unclear": unclear,
        "too_many": too_many,
        "lines_kept_out": int(stretches["kept_out"].sum()),
        "unknown_stores": len(unknown),
    }
    if records:
        metadata["differences"] = dg.MetadataValue.table(records)
    return result(
        passed=wrong.is_empty(), sentence=sentence, observed=wrong.height, expected=0, threshold=0, metadata=metadata
    )


@dg.asset_check(
    asset=dg.AssetKey(["marts", "fact_sales"]),
    additional_deps=[dg.AssetKey(["real_time", "rt_revenue_hourly"])],
    blocking=False,
    description=(
        "Units and revenue of each store and closed hour of the run's days, and of the day before, are those that the "
        "streaming service counted; lines in quarantine count with the facts, imported days aside."
    ),
)
def agrees_with_real_time(
    context: dg.AssetCheckExecutionContext, lake: LakeResource, clickhouse: ClickHouseResource
) -> dg.AssetCheckResult:
    """Compare facts with what was counted as it happened."""
    judged = judged_days(context, lake, CORE_SALES_LINES)
    if not judged:
        return verdict(pl.DataFrame(), [])
    # A store's last hour of a day is closed once it has sold something on the next.
    days = [judged[0] - timedelta(days=1), *judged]
    first, last = days[0], days[-1]
    with clickhouse.client(f"check of real time {context.run.run_id}") as client:
        around = {"first": first - timedelta(days=LOOK_BACK_DAYS), "last": last + SILENCE}
        stream = _read(client, _STREAM, **around)
        if stream.is_empty():
            return verdict(pl.DataFrame(), [])
        facts = _read(client, _FACTS, first=first, last=last)
        stores = _read(client, _STORES, unknown=UNKNOWN_KEY)
        progress = _read(client, _PROGRESS)
    began = context.instance.get_run_stats(context.run.run_id).start_time
    started = datetime.fromtimestamp(began, UTC) if began else datetime.now(UTC)
    made = _made(lake, facts, days, started)
    limits = load_thresholds(get_settings().thresholds_file).quarantine
    stretches = compared_stretches(
        stream,
        facts,
        stores,
        made,
        _kept_out(lake, made["business_date"].to_list()),
        left_out_by_stream(progress, limits.hours_ahead),
        started,
    )
    known = set(stores["store_id"].cast(pl.String))
    return verdict(stretches, sorted(set(stream["store_id"].cast(pl.String)) - known))


def reconciliation_checks() -> list[dg.AssetChecksDefinition]:
    """Return the checks that compare the batch pipeline with the streaming service."""
    return [agrees_with_real_time]
