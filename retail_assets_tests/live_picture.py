"""What the real-time tables should hold, computed in one pass over all messages by Polars, and what they do hold.

Independent of the service: whole numbers of thousandths and cents instead of decimals, and what is a good message is
known from how it was made rather than from a contract.
"""

from collections.abc import Mapping
from typing import Final

import polars as pl
from clickhouse_connect.driver.client import Client

from retail_assets.contracts.topics import EVENT_TOPICS, INVENTORY_UPDATES, POS_EVENTS, SALES_TRANSACTIONS
from retail_assets.simulator.tills.dirt import Label
from retail_assets.simulator.tills.plan import PLAN

Rows = set[tuple[object, ...]]

_KIND_BITS: Final = 3
_HOUR_MS: Final = 3_600_000
_BUCKET_MS: Final = 300_000
_PLACE: Final = {topic.name: place for place, topic in enumerate(EVENT_TOPICS)}

_LINE: Final = pl.Struct(
    {"product_id": pl.String(), "quantity": pl.Float64(), "unit_price": pl.Float64(), "discount": pl.Float64()}
)
_BASKET: Final = pl.Struct(
    {
        "transaction_id": pl.String(),
        "store_id": pl.String(),
        "occurred_at": pl.Int64(),
        "kind": pl.String(),
        "lines": pl.List(_LINE),
    }
)
_MOVEMENT: Final = pl.Struct(
    {
        "event_id": pl.String(),
        "store_id": pl.String(),
        "product_id": pl.String(),
        "occurred_at": pl.Int64(),
        "movement": pl.String(),
        "quantity_delta": pl.Float64(),
        "on_hand_after": pl.Float64(),
    }
)
_TILL_EVENT: Final = pl.Struct(
    {
        "event_id": pl.String(),
        "store_id": pl.String(),
        "register_id": pl.String(),
        "occurred_at": pl.Int64(),
        "kind": pl.String(),
    }
)


def expected(messages: pl.DataFrame) -> dict[str, Rows]:
    """Return the rows that each table should have.

    Args:
        messages: all that was sent, in the order of sending: the columns of a plan.
    """
    baskets = _events(messages, SALES_TRANSACTIONS.name, _BASKET).with_columns(
        sign=pl.when(pl.col("kind") == "sale").then(1).otherwise(-1)
    )
    lines = (
        baskets.explode("lines")
        .unnest("lines")
        .with_columns(units=pl.col("sign") * _whole("quantity", 1_000))
        .with_columns(revenue=pl.col("sign") * _rounded_revenue())
    )
    figures = [pl.sum("units"), pl.sum("revenue"), pl.n_unique("transaction_id").alias("transactions")]
    hours = lines.group_by("store_id", _floor(_HOUR_MS)).agg(figures)
    buckets = lines.group_by("store_id", "product_id", _floor(_BUCKET_MS)).agg(figures)
    tills = _events(messages, POS_EVENTS.name, _TILL_EVENT).sort("occurred_at", "event_id")
    last_of_till = [pl.last("occurred_at"), pl.last("kind")]
    kinds = ("price_override", "no_sale", "scan_error", "offline")
    return {
        "rt_revenue_hourly": set(hours.iter_rows()),
        "rt_sales_velocity": set(buckets.iter_rows()),
        "rt_inventory": set(_books(messages).iter_rows()),
        "rt_pos_hourly": set(
            tills.group_by("store_id", "register_id", _floor(_HOUR_MS).alias("hour"))
            .agg(*last_of_till, pl.len(), *[(pl.col("kind") == kind).sum().alias(f"n_{kind}") for kind in kinds])
            .iter_rows()
        ),
        "v_pos_health": set(tills.group_by("store_id", "register_id").agg(last_of_till).iter_rows()),
        "rt_dead_letters": set(
            _bad(messages)
            .group_by("topic", "value")
            .len()
            .select("topic", pl.col("value").bin.encode("hex"), "len")
            .iter_rows()
        ),
    }


_SHOWN: Final = {
    "rt_revenue_hourly": (
        "SELECT store_id, toInt64(toUnixTimestamp(hour_start)) * 1000, toInt64(units * 1000), toInt64(revenue * 100), "
        "transactions FROM rt_revenue_hourly FINAL"
    ),
    "rt_sales_velocity": (
        "SELECT store_id, product_id, toInt64(toUnixTimestamp(bucket_start)) * 1000, toInt64(units * 1000), "
        "toInt64(revenue * 100), transactions FROM rt_sales_velocity FINAL"
    ),
    "rt_inventory": (
        "SELECT store_id, product_id, toInt64(on_hand * 1000), last_movement, "
        "toUnixTimestamp64Milli(last_movement_at), toUnixTimestamp64Milli(first_movement_at), "
        "toInt64(opening * 1000), toInt64(moved * 1000), "
        "toInt64(unexplained * 1000), movements, "
        "toUnixTimestamp64Milli(last_sale_at), toUnixTimestamp64Milli(last_receipt_at), "
        "toUnixTimestamp64Milli(last_count_at), toInt64(last_count_correction * 1000) FROM rt_inventory FINAL"
    ),
    "rt_pos_hourly": (
        "SELECT store_id, register_id, toInt64(toUnixTimestamp(hour_start)) * 1000, "
        "toUnixTimestamp64Milli(last_event_at), last_kind, events, price_overrides, no_sales, scan_errors, "
        "offline_events FROM rt_pos_hourly FINAL"
    ),
    "v_pos_health": (
        "SELECT store_id, register_id, toUnixTimestamp64Milli(last_event_at), last_kind FROM v_pos_health"
    ),
    "rt_dead_letters": (
        "SELECT kafka_topic, lower(hex(raw_value)), count() FROM rt_dead_letters FINAL GROUP BY kafka_topic, raw_value"
    ),
}


def shown(warehouse: Client) -> dict[str, Rows]:
    """Return the final rows that each table has, in the form of `expected`."""
    found: dict[str, Rows] = {}
    for table, query in _SHOWN.items():
        rows = [tuple(row) for row in warehouse.query(query).result_rows]
        if table == "rt_dead_letters":
            rows = [(_PLACE[str(row[0])], *row[1:]) for row in rows]
        found[table] = set(rows)
        assert len(found[table]) == len(rows), f"{table} shows a row twice"
    return found


def differences(found: Mapping[str, Rows], wanted: Mapping[str, Rows]) -> dict[str, str]:
    """Say for each table that is not as it should be how many rows differ, and name one of each kind."""
    said = {}
    for table, rows in wanted.items():
        missing, extra = rows - found[table], found[table] - rows
        if missing or extra:
            said[table] = (
                f"{len(missing)} of {len(rows)} rows are missing, such as {next(iter(missing), None)}; "
                f"{len(extra)} should not be there, such as {next(iter(extra), None)}"
            )
    return said


def _books(messages: pl.DataFrame) -> pl.DataFrame:
    moved = _events(messages, INVENTORY_UPDATES.name, _MOVEMENT).sort("occurred_at", "sent", maintain_order=True)
    moved = moved.with_columns(delta=_whole("quantity_delta", 1_000), after=_whole("on_hand_after", 1_000))

    def newest(kind: str) -> pl.Expr:
        times = pl.col("occurred_at").filter(pl.col("movement") == kind)
        return times.max().fill_null(0).alias(f"last_{kind}_at")

    opening = pl.first("after") - pl.first("delta")
    return moved.group_by("store_id", "product_id").agg(
        pl.last("after").alias("on_hand"),
        pl.last("movement"),
        pl.last("occurred_at"),
        pl.first("occurred_at").alias("first_movement_at"),
        opening.alias("opening"),
        pl.sum("delta").alias("moved"),
        (pl.last("after") - opening - pl.sum("delta")).alias("unexplained"),
        pl.len().alias("movements"),
        newest("sale"),
        newest("receipt"),
        newest("count"),
        pl.col("delta").filter(pl.col("movement") == "count").last().fill_null(0).alias("last_count_correction"),
    )


def _events(messages: pl.DataFrame, topic: str, fields: pl.Struct) -> pl.DataFrame:
    """Return the events of a topic, each once, with the order of sending as `sent`."""
    assert set(PLAN) <= set(messages.columns)
    mine = messages.with_row_index("sent").filter(
        (pl.col("topic") == _PLACE[topic]) & (pl.col("label") & _KIND_BITS == int(Label.EVENT))
    )
    return mine.select("sent", pl.col("value").cast(pl.String).str.json_decode(fields).alias("event")).unnest("event")


def _bad(messages: pl.DataFrame) -> pl.DataFrame:
    kind = pl.col("label") & _KIND_BITS
    return messages.filter(kind.is_in([int(Label.MALFORMED), int(Label.UNKNOWN_VERSION)]))


def _whole(name: str, parts: int) -> pl.Expr:
    return (pl.col(name) * parts).round().cast(pl.Int64)


def _rounded_revenue() -> pl.Expr:
    """Return quantity x price less discount in cents, half a cent away from zero."""
    exact = _whole("quantity", 1_000) * _whole("unit_price", 100) - _whole("discount", 100) * 1_000
    return exact.sign() * ((exact.abs() + 500) // 1_000)


def _floor(length_ms: int) -> pl.Expr:
    return (pl.col("occurred_at") // length_ms * length_ms).alias("starts_at")
