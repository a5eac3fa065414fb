"""Tells Dagster how the streaming service is: what its queries say of themselves, at the tables that they write.

The service knows nothing of Dagster; it writes a row per query and ten seconds with a batch to the warehouse. A tick
sums what is new. Its sentence says it, and every ten minutes at most it becomes an observation of each table that the
query writes: Dagster keeps those for ever, and one takes 9 KB in its SQLite. A silent query has no rows and so no
observations either; the age of the last one says for how long.

An observation bears the time at which the table was last written, under the name by which Dagster's checks of freshness
know it. There are no freshness policies: Dagster 1.13 judges those by materializations alone, so an observed table
would be of unknown freshness for ever.

Does not belong here: what the service counts (`spark/`), and which query writes what (`contracts.lineage.real_time`).
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import dagster as dg
from clickhouse_connect.driver.client import Client

from retail_assets.contracts.lineage.real_time import QUERY_PROGRESS, TABLES_OF_QUERIES
from retail_assets.io_managers.clickhouse import describe
from retail_assets.resources.clickhouse import ClickHouseError, ClickHouseResource, WarehouseError, passes

_TABLE: Final = QUERY_PROGRESS.split("/")[1]
#: A tick without a cursor looks back so far.
_FIRST_LOOK_SECONDS: Final = 86_400
#: Least time from observation to observation of a table.
_EVERY_SECONDS: Final = 600
#: A row is about ten seconds, and may be written anew until they are over.
_SETTLED_SECONDS: Final = 20
_NEWS: Final = """
    SELECT toUnixTimestamp(max(at)), count(), sum(rows_in), sum(refused), sum(ahead + too_large + late), sum(rows_out),
        max(longest_batch_ms), argMax(lag, at), toUnixTimestamp64Milli(max(newest_event_at))
    FROM rt_query_progress FINAL
    WHERE query = {query:String} AND at > {after:UInt32} AND at > now() - {first_look:UInt32}
        AND at <= now() - {settled:UInt32}
"""


@dataclass(frozen=True)
class News:
    """What a query says of a stretch of time.

    Attributes:
        query: its name.
        at: start of its newest ten seconds, seconds since 1970.
        messages: read.
        refused: of these, by the contract.
        left_out: events that were late, ahead of the clock or too large.
        rows: written, over all of its tables.
        longest_batch_ms: milliseconds.
        lag: messages that waited at the end.
        newest_event_ms: time of the newest event, milliseconds since 1970; 0 where there was none.
    """

    query: str
    at: int
    messages: int
    refused: int
    left_out: int
    rows: int
    longest_batch_ms: int
    lag: int
    newest_event_ms: int


def observations(news: News) -> list[dg.AssetObservation]:
    """Return what a query says as an observation of each of its tables."""
    metadata: dict[str, dg.MetadataValue] = {
        "query": dg.MetadataValue.text(news.query),
        "lag": dg.MetadataValue.int(news.lag),
        "longest_batch_seconds": dg.MetadataValue.float(news.longest_batch_ms / 1_000),
        "messages": dg.MetadataValue.int(news.messages),
        "refused_share": dg.MetadataValue.float(news.refused / news.messages if news.messages else 0.0),
        "left_out": dg.MetadataValue.int(news.left_out),
        "rows_written": dg.MetadataValue.int(news.rows),
        "dagster/last_updated_timestamp": dg.MetadataValue.timestamp(float(news.at)),
    }
    if news.newest_event_ms:
        metadata["newest_event"] = dg.MetadataValue.timestamp(news.newest_event_ms / 1_000)
    return [
        dg.AssetObservation(asset_key=dg.AssetKey(table.split("/")), metadata=metadata)
        for table in TABLES_OF_QUERIES[news.query]
    ]


def read_news(client: Client, query: str, after: int) -> News | None:
    """Return what a query has said since; None where nothing.

    Args:
        client: of the warehouse.
        query: its name.
        after: start of the newest ten seconds that are known, seconds since 1970.
    """
    bounds = {"after": after, "first_look": _FIRST_LOOK_SECONDS, "settled": _SETTLED_SECONDS}
    ((at, rows, *numbers),) = client.query(_NEWS, parameters={"query": query, **bounds}).result_rows
    return News(query, int(at), *(int(number) for number in numbers)) if rows else None


def due(news: list[News], seen: Mapping[str, int], now: float) -> list[News]:
    """Return what is to be reported now: of queries that were last reported on long enough ago.

    Args:
        news: what was not reported yet.
        seen: by query, until when all was reported, seconds since 1970.
        now: seconds since 1970.
    """
    return [one for one in news if now - seen.get(one.query, 0) >= _EVERY_SECONDS]


def told(news: list[News]) -> str:
    """Return the tick's sentence."""
    if not news:
        return "nothing new of the streaming service"
    return "; ".join(f"{one.query}: {one.rows:,} rows written, {one.lag:,} messages waiting" for one in news)


def evaluate(context: dg.SensorEvaluationContext, clickhouse: ClickHouseResource) -> dg.SensorResult:
    """Report what the queries have said since they were last reported on.

    Args:
        context: of the tick; its cursor holds until when each query was reported on.
        clickhouse: where they say it.

    Raises:
        WriteError: the warehouse lacks the table.
        ClickHouseError: the warehouse answers and refuses.
    """
    seen: Mapping[str, int] = json.loads(context.cursor) if context.cursor else {}
    try:
        with clickhouse.client("progress of the streaming service") as client:
            describe(client, clickhouse.database, _TABLE)
            found = [read_news(client, query, seen.get(query, 0)) for query in TABLES_OF_QUERIES]
    except (WarehouseError, ClickHouseError) as error:
        if not passes(error):
            raise
        reason = f"the warehouse is away: {str(error).splitlines()[0]}"
        return dg.SensorResult(skip_reason=reason, cursor=context.cursor)
    news = [one for one in found if one is not None]
    reported = due(news, seen, time.time())
    return dg.SensorResult(
        skip_reason=told(news),
        asset_events=[observation for one in reported for observation in observations(one)],
        cursor=json.dumps({**seen, **{one.query: one.at for one in reported}}, sort_keys=True),
    )


def real_time_sensor() -> dg.SensorDefinition:
    """Return the sensor. It starts no runs, so it is on from the start in every mode."""

    @dg.sensor(
        name="real_time_sensor",
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Reports how the streaming service is, as observations of the tables it writes. Starts nothing.",
    )
    def sensor(context: dg.SensorEvaluationContext, clickhouse: ClickHouseResource) -> dg.SensorResult:
        return evaluate(context, clickhouse)

    return sensor
