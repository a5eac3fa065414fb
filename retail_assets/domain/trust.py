"""Which events can be trusted as facts, of those that a contract accepts.

Belongs here: what a line of a basket or a stock movement must look like to count, and why it doesn't. Does not belong
here: clocks and repeated messages, which are found where messages are read (`assets.events`); what a contract refuses
(`contracts.decoding`); products and stores that nobody has described, which count under "unknown".

A return or void whose sale nobody knows counts like any other: the sale may lie before the history or still be on its
way, and the goods have come back all the same.
"""

from typing import Final

import polars as pl

from retail_assets.contracts.events import INVENTORY_UPDATE
from retail_assets.contracts.tables import CORE_QUARANTINE, CORE_SALES_LINES, REFERENCE_STORES
from retail_assets.contracts.tables.core import (
    CONFLICTING_DUPLICATE,
    DATE_BEFORE_HISTORY,
    FOREIGN_CURRENCY,
    FUTURE_DATE,
    IMPLAUSIBLE_DISCOUNT,
    IMPLAUSIBLE_PRICE,
    IMPLAUSIBLE_QUANTITY,
    STORE_NOT_OPEN_YET,
)
from retail_assets.contracts.thresholds import Quarantine
from retail_assets.contracts.types import MONEY, QUANTITY, STRING, Column
from retail_assets.domain.frames import columns_of, typed
from retail_assets.domain.prices import with_list_price
from retail_assets.domain.promotions import with_promotion

_SOURCE: Final = columns_of(CORE_QUARANTINE, "kafka_topic", "kafka_partition", "kafka_offset")
_EVENT_REASON: Final = Column("event_reason", STRING, "Why the whole event can't be trusted.", nullable=True)
_VERDICT: Final = (
    Column("reason", STRING, "Why it can't be trusted; null where it can.", nullable=True),
    Column("explanation", STRING, "The reason in words; null where it can be trusted.", nullable=True),
)

#: Lines of baskets as they come: quantities as the till sent them, positive for returns and voids too.
LINES: Final = (
    *_SOURCE,
    *columns_of(
        CORE_SALES_LINES,
        "transaction_id",
        "line_no",
        "store_id",
        "register_id",
        "product_id",
        "occurred_at",
        "business_hour",
        "kind",
        "unit_price",
        "discount",
        "till_promotion_id",
        "business_date",
    ),
    Column("quantity", QUANTITY, "Units, positive.", unit="units"),
    _EVENT_REASON,
)
#: Lines that were judged: what `core/sales_lines` and `core/quarantine` are made of.
JUDGED_LINES: Final = (*_SOURCE, *CORE_SALES_LINES.columns, *_VERDICT)

#: Stock movements as they come.
MOVEMENTS: Final = (
    *_SOURCE,
    *columns_of(CORE_QUARANTINE, "event_id", "store_id", "product_id", "occurred_at", "business_date"),
    *(column for column in INVENTORY_UPDATE.columns if column.name in {"movement", "quantity_delta", "on_hand_after"}),
    _EVENT_REASON,
)
JUDGED_MOVEMENTS: Final = (*MOVEMENTS, *_VERDICT)

_STORES: Final = columns_of(REFERENCE_STORES, "store_id", "opened_on")
_EXACT: Final = pl.Decimal(38, QUANTITY.scale + MONEY.scale)
_EXPLAINED: Final = {
    FUTURE_DATE: "it happened after it arrived, by the till's clock",
    DATE_BEFORE_HISTORY: "it happened before the first day of the history, by the till's clock",
    CONFLICTING_DUPLICATE: "an earlier event has the same id and says something else; the earlier one counts",
    FOREIGN_CURRENCY: "its money is of another currency than the retailer's (RETAIL_CURRENCY)",
}


def judged_lines(
    lines: pl.DataFrame,
    stores: pl.DataFrame,
    prices: pl.DataFrame,
    promotions: pl.DataFrame,
    limits: Quarantine,
) -> pl.DataFrame:
    """Return lines of baskets as facts, with list price and promotion of their day, and the reason not to trust them.

    Args:
        lines: columns `LINES`.
        stores: `reference/stores`.
        prices: `core/list_prices`.
        promotions: `reference/promotions`.
        limits: from where on a line is not plausible.

    Returns:
        The same lines, columns `JUDGED_LINES`: units and revenue are negative for returns and voids.
    """
    sign = pl.when(pl.col("kind") == "sale").then(1).otherwise(-1)
    # To the last digit, and rounded once: a product takes the scale of its factors.
    value = pl.col("quantity").cast(_EXACT) * pl.col("unit_price").cast(_EXACT)
    priced = with_promotion(with_list_price(typed(lines, LINES), prices), promotions)
    full = _with_opening(priced, stores).with_columns(
        units=pl.col("quantity") * sign,
        revenue=(value - pl.col("discount").cast(_EXACT)).round(MONEY.scale, mode="half_away_from_zero") * sign,
        # Tills round a discount of the whole value up to the cent.
        value=(value.cast(pl.Float64) * 100 - 1e-6).ceil() / 100,
    )
    number = {name: pl.col(name).cast(pl.Float64) for name in ("quantity", "unit_price", "discount", "list_price")}
    most = limits.price_over_list * number["list_price"]
    verdicts = [
        *_of_event(limits),
        (
            IMPLAUSIBLE_QUANTITY,
            number["quantity"] > limits.units_per_line,
            pl.format("{} units in one line, more than {}", "quantity", pl.lit(limits.units_per_line)),
        ),
        (
            IMPLAUSIBLE_DISCOUNT,
            number["discount"] > limits.discount_over_value * pl.col("value"),
            pl.format(
                "a discount of {} on goods of {}, more than {} of their value",
                "discount",
                "value",
                pl.lit(limits.discount_over_value),
            ),
        ),
        (
            IMPLAUSIBLE_PRICE,
            (number["list_price"] > 0) & (number["unit_price"] > most),
            pl.format(
                "{} for a unit, more than {} times the list price {}",
                "unit_price",
                pl.lit(limits.price_over_list),
                "list_price",
            ),
        ),
    ]
    return typed(_judged(full, verdicts), JUDGED_LINES)


def judged_movements(movements: pl.DataFrame, stores: pl.DataFrame, limits: Quarantine) -> pl.DataFrame:
    """Return stock movements with the reason not to trust them.

    Args:
        movements: columns `MOVEMENTS`.
        stores: `reference/stores`.
        limits: from where on a movement is not plausible.

    Returns:
        The same movements, columns `JUDGED_MOVEMENTS`.
    """
    of_customers = pl.col("movement").is_in(["sale", "return"])
    most = pl.when(of_customers).then(limits.units_per_line).otherwise(limits.units_per_movement)
    verdicts = [
        *_of_event(limits),
        (
            IMPLAUSIBLE_QUANTITY,
            pl.col("quantity_delta").cast(pl.Float64).abs() > most,
            pl.format("a {} of {} units, more than {} either way", "movement", "quantity_delta", most),
        ),
    ]
    return typed(_judged(_with_opening(typed(movements, MOVEMENTS), stores), verdicts), JUDGED_MOVEMENTS)


def _with_opening(rows: pl.DataFrame, stores: pl.DataFrame) -> pl.DataFrame:
    known = typed(stores, _STORES).unique("store_id", keep="first", maintain_order=True)
    return rows.join(known, on="store_id", how="left", maintain_order="left")


def _of_event(limits: Quarantine) -> list[tuple[str, pl.Expr, pl.Expr]]:
    """Return what can be wrong with an event of any kind: reason, condition and explanation."""
    verdicts = [
        (reason, pl.col("event_reason") == reason, pl.lit(explanation)) for reason, explanation in _EXPLAINED.items()
    ]
    allowed = pl.duration(days=limits.days_before_opening)
    early = pl.col("business_date") < pl.col("opened_on") - allowed
    text = pl.format("the store opened on {}, more than {} days later", "opened_on", pl.lit(limits.days_before_opening))
    return [*verdicts, (STORE_NOT_OPEN_YET, early, text)]


def _judged(rows: pl.DataFrame, verdicts: list[tuple[str, pl.Expr, pl.Expr]]) -> pl.DataFrame:
    """Return rows with reason and explanation of the first verdict that applies; a condition of null doesn't."""
    nothing = pl.lit(None, dtype=pl.String)
    reasons = [pl.when(condition).then(pl.lit(reason)) for reason, condition, _ in verdicts]
    texts = [pl.when(condition).then(text) for _, condition, text in verdicts]
    return rows.with_columns(reason=pl.coalesce(*reasons, nothing), explanation=pl.coalesce(*texts, nothing))
