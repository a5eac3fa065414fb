"""Till lines put together to baskets, as the contract of the sales transactions wants them.

Belongs here: what makes lines one basket, what becomes of signs, times and gaps in its lines, and the basket's id. Does
not belong here: checks that need no knowledge of tills (`checking`), and where lines and baskets are kept meanwhile.

The lines of one store with one transaction_id are one transaction, wherever in the files they are. Its lines are a
basket for each kind that they are of, since the contract knows no basket with both signs: an exchange becomes a sale
and a return. A basket is whole or not at all: a rejected line takes the others of its transaction with it.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from retail_assets.contracts.events import EARLIEST_MS, GREATEST_LINE_VALUE, SALES_TRANSACTION
from retail_assets.contracts.types import ListType, polars_schema
from retail_assets.imports import defaults
from retail_assets.imports.buckets import Tally
from retail_assets.imports.checking import Fault, Rejections
from retail_assets.imports.dates import FUTURE
from retail_assets.imports.numbers import missing
from retail_assets.imports.reading import ROW
from retail_assets.imports.times import OFFSET

#: What makes lines one transaction.
TRANSACTION: Final = ("store_id", "transaction_id")
#: Further apart than this, lines of one number are two transactions: tills begin to count again.
LONGEST: Final = timedelta(hours=24)

CONTRADICTION: Final = "line_no: twice in the same transaction, with other values"
SIBLING: Final = "another line of the same transaction is rejected"
REUSED: Final = "transaction_id: the same store has it again more than a day apart"
OTHER_FILE: Final = "the same transaction is in another file, with other lines"
_ZERO: Final = "zero, neither sold nor returned"
_GAP: Final = "a time that doesn't exist, because clocks were put forward then"
_TOO_EARLY: Final = "before 2000"

KINDS: Final = ("sale", "return", "void")
_KIND_WORDS: Final = {
    **dict.fromkeys(("sale", "sales", "s", "sold"), "sale"),
    **dict.fromkeys(("return", "returns", "refund", "r", "returned"), "return"),
    **dict.fromkeys(("void", "voided", "v", "cancelled", "canceled", "storno"), "void"),
}
_PAYMENTS: Final = next(c.allowed for c in SALES_TRANSACTION.columns if c.name == "payment_method") or ()
_FILE: Final = "file"
_VALUES: Final = ("product_id", "quantity", "unit_price", "discount", "promotion_id", "kind", "occurred_at")
#: A till line on its way.
LINES: Final = pl.Schema(
    {
        _FILE: pl.UInt16(),
        ROW: pl.Int64(),
        "reason": pl.UInt16(),
        "store_id": pl.String(),
        "transaction_id": pl.String(),
        "occurred_at": pl.Datetime("ms"),
        "line_no": pl.Float64(),
        "product_id": pl.String(),
        "quantity": pl.Float64(),
        "unit_price": pl.Float64(),
        "discount": pl.Float64(),
        "promotion_id": pl.String(),
        "kind": pl.String(),
        "payment_method": pl.String(),
        "register_id": pl.String(),
        "cashier_id": pl.String(),
    }
)
BASKETS: Final = polars_schema(SALES_TRANSACTION.columns)


@dataclass(frozen=True)
class Clocks:
    """In which zone a time is that doesn't name one.

    Attributes:
        all_in: the zone of all of them, whatever their store; None for the store's own.
        by_store: the time zone of each store that is known.
        otherwise: that of the others.
    """

    all_in: str | None
    by_store: Mapping[str, str]
    otherwise: str

    def zone_of(self, store: str) -> str:
        """Return the time zone of a store's business dates."""
        return self.by_store.get(store, self.otherwise)


@dataclass
class BasketCounts:
    """What is worth telling of the baskets.

    Attributes:
        kinds: baskets by kind.
        mixed: transactions with lines of several kinds.
        spread: transactions whose lines say several times.
        free_returns: lines that return something for nothing.
        free_sales: lines that sell something for nothing.
        zoned: lines whose time names its zone.
        unzoned: lines whose time doesn't.
        twice: lines at a time that the clocks showed twice.
        again: lines without a number that say exactly what an earlier one of their transaction says.
        other_payments: lines with a way of payment that the contract doesn't know, by its name.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    mixed: int = 0
    spread: int = 0
    free_returns: int = 0
    free_sales: int = 0
    zoned: int = 0
    unzoned: int = 0
    twice: int = 0
    again: int = 0
    other_payments: Counter[str] = field(default_factory=Counter)


class LineJudge:
    """Judges till lines one by one, by what several of their fields say together."""

    def __init__(
        self, clocks: Clocks, currency: str, now: datetime, counts: BasketCounts, store: str | None = None
    ) -> None:
        """Say what holds for all lines.

        Args:
            clocks: in which zone times are.
            currency: of all money of the platform.
            now: the latest time that can have been; UTC.
            counts: where what is found is counted.
            store: that of all lines; None where they say it.
        """
        self._clocks, self._currency, self._counts, self._store = clocks, currency, counts, store
        self._now = now.replace(tzinfo=None)

    def __call__(self, lines: pl.DataFrame) -> tuple[pl.DataFrame, list[Fault]]:
        """Return the lines with UTC times and kinds, and their faults; see `checking.checked_batches`."""
        lacking = [pl.lit(None, dtype).alias(name) for name, dtype in LINES.items() if name not in lines.columns]
        lines = lines.with_columns(lacking)
        if self._store is not None:
            lines = lines.with_columns(pl.lit(self._store).alias("store_id"))
        faults: list[Fault] = []
        utc = self._in_utc(lines)
        faults.append(("occurred_at", _GAP, utc.is_null() & lines["occurred_at"].is_not_null()))
        faults.append(("occurred_at", FUTURE, (utc > self._now).fill_null(value=False)))
        faults.append(("occurred_at", _TOO_EARLY, (utc.dt.epoch("ms") < EARLIEST_MS).fill_null(value=False)))
        quantity = lines["quantity"]
        faults.append(("quantity", _ZERO, (quantity == 0).fill_null(value=False)))
        worth = (quantity.abs() * lines["unit_price"] > GREATEST_LINE_VALUE).fill_null(value=False)
        faults.append(("unit_price", f"quantity x unit_price is above {GREATEST_LINE_VALUE:,}", worth))
        kinds, wrong = _kinds(lines["kind"], quantity)
        faults.append(("kind", f"none of {', '.join(KINDS)}", wrong))
        if "currency" in lines.columns:
            said = lines["currency"].str.to_uppercase()
            other = ((said != self._currency) & ~missing(said.fill_null(""))).fill_null(value=False)
            faults.append(
                ("currency", f"not {self._currency}, the currency of all money here (RETAIL_CURRENCY)", other)
            )
        free = lines["unit_price"] == 0
        self._counts.free_returns += int((free & (kinds == "return")).sum())
        self._counts.free_sales += int((free & (kinds == "sale")).sum())
        return (
            lines.with_columns(
                utc.alias("occurred_at"),
                quantity.abs().alias("quantity"),
                kinds.alias("kind"),
                self._payments(lines["payment_method"]).alias("payment_method"),
            ),
            faults,
        )

    def _in_utc(self, lines: pl.DataFrame) -> pl.Series:
        """Return when each line was, in UTC; null where the clocks of its place skip that time."""
        local = lines["occurred_at"].cast(pl.Datetime("ms"))
        offset = lines[OFFSET]
        unzoned = offset.is_null()
        self._counts.zoned += int((~unzoned).sum())
        self._counts.unzoned += int(unzoned.sum())
        utc = local - pl.Series(offset.fill_null(0)).cast(pl.Int64).cast(pl.Duration("ms")) * 60_000
        if not unzoned.any():
            return utc
        stores = lines["store_id"].fill_null("")
        zones = {store: self._clocks.all_in or self._clocks.zone_of(store) for store in stores.unique().to_list()}
        named = stores.replace_strict(zones, return_dtype=pl.String)
        for zone in dict.fromkeys(zones.values()):
            here = unzoned & (named == zone)
            clock = local.set(~here, None)
            early = clock.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
            late = clock.dt.replace_time_zone(zone, ambiguous="latest", non_existent="null")
            self._counts.twice += int((early != late).sum())
            utc = utc.zip_with(~here, early.dt.convert_time_zone("UTC").dt.replace_time_zone(None))
        return utc

    def _payments(self, said: pl.Series) -> pl.Series:
        """Return the contract's word for each way of payment; null where it has none."""
        words = said.str.to_lowercase()
        known = words.set(~words.is_in(list(_PAYMENTS)), None)
        others = said.filter(known.is_null() & said.is_not_null())
        if others.len():
            self._counts.other_payments.update(dict(others.value_counts().iter_rows()))
        return known


def _kinds(said: pl.Series, quantity: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Return each line's kind, and which say one that isn't known: voids and returns as said, else by the sign."""
    texts = said.fill_null("").str.strip_chars().str.to_lowercase()
    words = texts.replace_strict(_KIND_WORDS, default=None, return_dtype=pl.String)
    wrong = words.is_null() & ~missing(texts)
    sign = pl.select(pl.when((quantity < 0).fill_null(value=False)).then(pl.lit("return")).otherwise(pl.lit("sale")))
    by_sign = sign.to_series()
    kinds = words.zip_with((words.is_in(["void", "return"])).fill_null(value=False), by_sign)
    return kinds, wrong


def base_id() -> pl.Expr:
    """Return the part of a basket's id that all baskets of a transaction share, from the id in `transaction_id`."""
    return pl.col("transaction_id").str.replace(r":[a-z]+$", "")


def transaction_base() -> pl.Expr:
    """Return the same for till lines, from their store and transaction_id."""
    # Numbers of receipts are often a store's own, so the store is part of the id. A colon in the store's own id would
    # let two stores meet in one id.
    store = pl.col("store_id").str.replace_all("%", "%25", literal=True).str.replace_all(":", "%3A", literal=True)
    return pl.concat_str(store, pl.col("transaction_id"), separator=":")


def assemble(
    lines: pl.DataFrame,
    rejections: Rejections,
    tally: Tally,
    counts: BasketCounts,
    places: list[str],
    currency: str,
) -> pl.DataFrame:
    """Return the baskets of some transactions.

    Args:
        lines: `LINES`, all lines of these transactions, rejected ones among them.
        rejections: where further rejected lines are noted.
        tally: where accepted and repeated lines are counted.
        counts: where baskets are counted.
        places: how a row of each file is called, such as `tills.csv line`.
        currency: ISO 4217 code.

    Returns:
        The event's columns (`BASKETS`), each transaction's baskets once.
    """
    lines = lines.sort(*TRANSACTION, _FILE, ROW)
    judged = _Judged(lines, rejections, places)
    at = pl.when(pl.col("reason") == 0).then("occurred_at")
    judged.reject(REUSED, at.max().over(TRANSACTION) - at.min().over(TRANSACTION) > LONGEST)
    repeated = judged.repeated()
    tally.repeated += repeated.height
    for row in repeated.head(3 - len(tally.repeated_examples)).iter_rows(named=True):
        tally.repeated_examples.append(f"{places[row[_FILE]]} {row[ROW]:,} ({_named(row)})")
    judged.reject(SIBLING, (pl.col("reason") > 0).any().over(TRANSACTION))
    good = judged.rows.filter(pl.col("reason") == 0).join(repeated, on=[_FILE, ROW], how="anti", maintain_order="left")
    _count(good, tally, counts)
    return _baskets(good, counts, currency)


class _Judged:
    """Lines, and why some of them are rejected."""

    def __init__(self, lines: pl.DataFrame, rejections: Rejections, places: list[str]) -> None:
        self.rows = lines.filter(pl.all_horizontal(pl.col(TRANSACTION).is_not_null()))
        self._rejections, self._places = rejections, places

    def reject(self, reason: str, wrong: pl.Expr) -> None:
        """Reject the lines that are wrong and not rejected yet."""
        bad = self.rows.select((wrong & (pl.col("reason") == 0)).fill_null(value=False)).to_series()
        if not bad.any():
            return
        number = self._rejections.number(reason)
        found = self.rows.filter(bad)
        for (file,), part in found.partition_by(_FILE, as_dict=True).items():
            self._rejections.add(int(file), part.select(ROW, pl.lit(number).alias("reason")))
        for row in found.head(3).iter_rows(named=True):
            self._rejections.example(reason, f"{self._places[row[_FILE]]} {row[ROW]:,} ({_named(row)})")
        self.rows = self.rows.with_columns(
            pl.when(bad).then(number).otherwise("reason").cast(pl.UInt16).alias("reason")
        )

    def repeated(self) -> pl.DataFrame:
        """Return the lines that say what another one says, and reject those that contradict each other."""
        numbered = pl.col("line_no").is_not_null()
        key = [*TRANSACTION, "line_no"]
        several = numbered & (pl.len().over(key) > 1)
        if self.rows.select(several.any()).item():
            differ = pl.struct(_VALUES).n_unique().over(key) > 1
            self.reject(CONTRADICTION, several & differ)
        same_number = self.rows.filter(several & (pl.col("reason") == 0)).filter(pl.int_range(pl.len()).over(key) > 0)
        return pl.concat([same_number, self._in_several_files()]).select(LINES.names())

    def _in_several_files(self) -> pl.DataFrame:
        """Return the lines without a number of transactions that an earlier file holds whole; exports overlap."""
        files = pl.col(_FILE).n_unique().over(TRANSACTION)
        unnumbered = pl.col("line_no").is_null().all().over(TRANSACTION)
        rows = self.rows.filter((files > 1) & unnumbered)
        if rows.is_empty():
            return rows
        line = [*TRANSACTION, *_VALUES]
        copies = (
            rows.with_columns(pl.int_range(pl.len()).over(*line, _FILE).alias("copy"), files.alias("files"))
            .with_columns((pl.col(_FILE).n_unique().over(*line, "copy") == pl.col("files")).alias("everywhere"))
            .with_columns(pl.col("everywhere").all().over(TRANSACTION))
        )
        others = copies.filter(~pl.col("everywhere")).select(_FILE, ROW).with_columns(pl.lit(value=True).alias("other"))
        marks = self.rows.join(others, on=[_FILE, ROW], how="left", maintain_order="left")["other"]
        self.reject(OTHER_FILE, pl.lit(marks.fill_null(value=False)))
        first = pl.col(_FILE).min().over(TRANSACTION)
        return copies.filter((pl.col("everywhere")) & (pl.col(_FILE) > first)).select(self.rows.columns)


def _named(row: Mapping[str, Any]) -> str:
    return f"store {row['store_id']}, transaction {row['transaction_id']}"


def _count(good: pl.DataFrame, tally: Tally, counts: BasketCounts) -> None:
    tally.accepted += good.height
    tally.stores.update(good["store_id"].unique().to_list())
    tally.products.update(good["product_id"].unique().to_list())
    unnumbered = good.filter(pl.col("line_no").is_null()).select(*TRANSACTION, *_VALUES)
    counts.again += unnumbered.height - unnumbered.n_unique()
    spread = good.group_by(TRANSACTION).agg(pl.col("occurred_at").n_unique(), pl.col("kind").n_unique())
    counts.spread += int((spread["occurred_at"] > 1).sum())
    counts.mixed += int((spread["kind"] > 1).sum())


def _baskets(good: pl.DataFrame, counts: BasketCounts, currency: str) -> pl.DataFrame:
    line_type = BASKETS["lines"]
    assert isinstance(line_type, pl.List)  # noqa: S101 - by the schema file
    fields = next(c.type for c in SALES_TRANSACTION.columns if c.name == "lines")
    assert isinstance(fields, ListType)  # noqa: S101
    line_schema = polars_schema(fields.fields)
    ordered = good.sort(*TRANSACTION, "line_no", _FILE, ROW, nulls_last=True, maintain_order=True).with_columns(
        # The basket was closed when its last line was rung up.
        pl.col("occurred_at").max().over(TRANSACTION),
        *(
            pl.col(name).drop_nulls().first().over(TRANSACTION).fill_null(default)
            for name, default in (
                ("payment_method", defaults.PAYMENT_METHOD),
                ("register_id", defaults.UNKNOWN),
                ("cashier_id", defaults.UNKNOWN),
            )
        ),
        pl.int_range(1, pl.len() + 1).over(*TRANSACTION, "kind").alias("line_no"),
        pl.col("discount").fill_null(0.0),
        pl.concat_str(transaction_base(), pl.col("kind"), separator=":").alias("event"),
    )
    lines = pl.struct(pl.col(name).cast(dtype) for name, dtype in line_schema.items())
    baskets = ordered.group_by("event", maintain_order=True).agg(
        *(pl.col(name).first() for name in ("store_id", "register_id", "cashier_id", "occurred_at", "payment_method")),
        pl.col("kind").first(),
        lines.alias("lines"),
    )
    counts.kinds.update(dict(baskets["kind"].value_counts().iter_rows()))
    complete = baskets.with_columns(
        pl.col("event").alias("transaction_id"),
        pl.col("occurred_at").dt.replace_time_zone("UTC"),
        pl.lit(currency).alias("currency"),
        pl.lit(None).alias("original_transaction_id"),
    )
    return complete.select(BASKETS.names()).cast(BASKETS)


def sold_by_day(baskets: pl.DataFrame, clocks: Clocks) -> pl.DataFrame:
    """Return what was sold of each product, in each store on each business date: `reference.OBSERVED`.

    A price is left out: it follows from revenue and units.

    Args:
        baskets: with the event's columns.
        clocks: for the stores' time zones.
    """
    zones = {store: clocks.zone_of(store) for store in baskets["store_id"].unique().to_list()}
    parts = [
        part.with_columns(pl.col("occurred_at").dt.convert_time_zone(zone).dt.date().alias("business_date"))
        for (zone,), part in baskets.with_columns(
            pl.col("store_id").replace_strict(zones, return_dtype=pl.String).alias("zone")
        )
        .partition_by("zone", as_dict=True)
        .items()
        if isinstance(zone, str)
    ]
    lines = pl.concat(parts).select("store_id", "business_date", "kind", "lines").explode("lines").unnest("lines")
    sign = pl.when(pl.col("kind") == "sale").then(1.0).otherwise(-1.0)
    number = {name: pl.col(name).cast(pl.Float64) for name in ("quantity", "unit_price", "discount")}
    return (
        lines.group_by("store_id", "product_id", "business_date")
        .agg(
            (number["quantity"] * sign).sum().alias("units"),
            ((number["quantity"] * number["unit_price"] - number["discount"]) * sign).sum().alias("revenue"),
            pl.col("promotion_id").is_not_null().any().alias("on_promotion"),
        )
        .with_columns(pl.lit(None, pl.Float64).alias("unit_price"))
        .select("store_id", "product_id", "business_date", "units", "unit_price", "revenue", "on_promotion")
        .sort("store_id", "product_id", "business_date")
    )
