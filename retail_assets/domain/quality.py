"""What is usual, and how far from it a day may lie: volume, shares of nulls and zeros, prices.

Belongs here: statistics that warn, as pure functions over small sums. Does not belong here: making the sums (`checks`),
where a threshold lies (`contracts.thresholds`), and rules that make an event untrustworthy (`trust`).

Every function returns a row for everything that it looked at, with a verdict: `ok`, `unusual`, or why there was nothing
to judge. Robust statistics throughout: one odd day in the past must not hide the next one.
"""

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from typing import Final

import polars as pl

from retail_assets.contracts.thresholds import PriceJumps, Shares, Volume

OK: Final = "ok"
UNUSUAL: Final = "unusual"
CLOSED: Final = "closed"
HOLIDAY: Final = "holiday"
SHORT_HISTORY: Final = "short history"

#: The median absolute deviation of a normal distribution, times this, is its standard deviation.
_MAD_SCALE: Final = 1.4826
_WEEK: Final = 7

#: Units by store and day: what `unusual_volumes` takes.
VOLUMES: Final = pl.Schema({"store_id": pl.String(), "business_date": pl.Date(), "units": pl.Float64()})
#: Regular price by product and day: what `price_jumps` takes.
PRICES: Final = pl.Schema({"product_id": pl.String(), "business_date": pl.Date(), "price": pl.Float64()})
#: Rows, nulls and zeros of a column by store and day: what `changed_shares` takes.
SHARES: Final = pl.Schema(
    {
        "store_id": pl.String(),
        "business_date": pl.Date(),
        "trade": pl.Boolean(),
        "column": pl.String(),
        "rows": pl.Int64(),
        "nulls": pl.Int64(),
        "zeros": pl.Int64(),
    }
)


def weekdays_before(days: Collection[date], weeks: int) -> list[date]:
    """Return some days, and the same weekdays of so many weeks before: what it takes to judge the days."""
    return sorted({day - timedelta(days=_WEEK * week) for day in days for week in range(weeks + 1)})


def unusual_volumes(
    volumes: pl.DataFrame, days: Collection[date], holidays: Collection[date], limits: Volume
) -> pl.DataFrame:
    """Compare each store's day with the same weekday of the weeks before.

    A day without trade is closed and not judged, nor is it history for others; the same goes for public holidays, which
    have no usual volume. The spread is the robust standard deviation, and at least a share of the median and its square
    root, the spread of counts that know nothing of each other.

    Args:
        volumes: columns `VOLUMES`, of at least `weekdays_before`; a store's day that is missing had no trade.
        days: the days to judge.
        holidays: public holidays.
        limits: from where on a volume is unusual.

    Returns:
        One row per store and day: store_id, business_date, units, expected (median), spread, score (distance in
        spreads, signed), weeks (of history), verdict; the most unusual first.
    """
    traded = volumes.select(VOLUMES.names()).cast(VOLUMES).filter(pl.col("units") > 0)
    is_holiday = pl.col("business_date").is_in(sorted(holidays))
    usual = traded.filter(~is_holiday)
    wanted = traded.select("store_id").unique().join(_dates(days), how="cross")
    history = (
        wanted.join(pl.DataFrame({"week": range(1, limits.weeks + 1)}), how="cross")
        .with_columns(then=pl.col("business_date") - pl.duration(days=pl.col("week") * _WEEK))
        .join(usual.rename({"business_date": "then"}), on=["store_id", "then"])
        .group_by("store_id", "business_date")
        .agg(expected=pl.col("units").median(), mad=_mad("units"), weeks=pl.len())
    )
    expected = pl.col("expected")
    spread = pl.max_horizontal(
        pl.col("mad") * _MAD_SCALE, expected * limits.least_spread_share, expected.sqrt(), pl.lit(1.0)
    )
    return (
        wanted.join(traded, on=["store_id", "business_date"], how="left")
        .join(history, on=["store_id", "business_date"], how="left")
        .with_columns(pl.col("units").fill_null(0.0), pl.col("weeks").fill_null(0), spread=spread)
        .with_columns(score=(pl.col("units") - expected) / pl.col("spread"))
        .with_columns(
            verdict=pl.when(pl.col("units") <= 0)
            .then(pl.lit(CLOSED))
            .when(is_holiday)
            .then(pl.lit(HOLIDAY))
            .when(pl.col("weeks") < limits.min_weeks)
            .then(pl.lit(SHORT_HISTORY))
            .when(pl.col("score").abs() > limits.score)
            .then(pl.lit(UNUSUAL))
            .otherwise(pl.lit(OK))
        )
        .sort(pl.col("score").abs(), "store_id", "business_date", descending=[True, False, False], nulls_last=True)
        .select("store_id", "business_date", "units", "expected", "spread", "score", "weeks", "verdict")
    )


def changed_shares(counts: pl.DataFrame, days: Collection[date], limits: Shares) -> pl.DataFrame:
    """Compare the share of nulls and of zeros in each column with the same weekday of the weeks before.

    By weekday, because deliveries and quiet days come by weekday. A store's day without trade counts for neither side:
    a closed store has zeros in every column. The spread is the robust standard deviation, and at least the sampling
    error of a share of so many rows.

    Args:
        counts: columns `SHARES`, of at least `weekdays_before`.
        days: the days to judge.
        limits: from where on a share has changed.

    Returns:
        One row per day, column and kind: business_date, column, kind (`nulls` or `zeros`), rows, observed (share),
        expected (median), allowed (distance from it), change, history (days), verdict; the greatest change for what is
        allowed first. Days without any trade have no row.
    """
    shares = (
        counts.select(SHARES.names())
        .cast(SHARES)
        .filter("trade")
        .group_by("business_date", "column")
        .agg(pl.col("rows", "nulls", "zeros").sum())
        .filter(pl.col("rows") > 0)
        .unpivot(["nulls", "zeros"], index=["business_date", "column", "rows"], variable_name="kind", value_name="hits")
        .select("business_date", "column", "kind", "rows", observed=pl.col("hits") / pl.col("rows"))
    )
    back = [_WEEK * week for week in range(1, limits.weeks + 1)]
    history = _history(shares, days, back, ["column", "kind"], "observed")
    expected = pl.col("expected")
    # As if one more row had been a hit and one more none: a share of nothing in few rows is no certainty.
    likely = (expected * pl.col("rows") + 1) / (pl.col("rows") + 2)
    spread = pl.max_horizontal(pl.col("mad") * _MAD_SCALE, (likely * (1 - likely) / pl.col("rows")).sqrt())
    return (
        shares.filter(pl.col("business_date").is_in(sorted(days)))
        .join(history, on=["business_date", "column", "kind"], how="left")
        .with_columns(
            pl.col("history").fill_null(0),
            allowed=pl.max_horizontal(spread * limits.score, pl.lit(limits.least_change)),
            change=pl.col("observed") - expected,
        )
        .with_columns(
            verdict=pl.when(pl.col("history") < limits.min_weeks)
            .then(pl.lit(SHORT_HISTORY))
            .when(pl.col("change").abs() > pl.col("allowed"))
            .then(pl.lit(UNUSUAL))
            .otherwise(pl.lit(OK))
        )
        .sort(
            pl.col("change").abs() / pl.col("allowed"),
            "column",
            "kind",
            "business_date",
            descending=[True, *[False] * 3],
        )
        .select(
            "business_date", "column", "kind", "rows", "observed", "expected", "allowed", "change", "history", "verdict"
        )
    )


def price_jumps(prices: pl.DataFrame, days: Collection[date], limits: PriceJumps) -> pl.DataFrame:
    """Compare what a unit of each product sold for without promotion with the days before.

    Args:
        prices: columns `PRICES`, of the days and of those before; only days on which the product was sold.
        days: the days to judge.
        limits: from where on a price has jumped.

    Returns:
        One row per product and day with a sale: product_id, business_date, price, expected (median of the days before;
        money per unit), ratio (the greater over the lesser, at least 1), history (days), verdict; the greatest jump
        first.
    """
    known = prices.select(PRICES.names()).cast(PRICES).filter(pl.col("price") > 0)
    history = _history(known, days, range(1, limits.days + 1), ["product_id"], "price")
    up, down = pl.col("price") / pl.col("expected"), pl.col("expected") / pl.col("price")
    return (
        known.filter(pl.col("business_date").is_in(sorted(days)))
        .join(history, on=["product_id", "business_date"], how="left")
        .with_columns(pl.col("history").fill_null(0), ratio=pl.max_horizontal(up, down))
        .with_columns(
            verdict=pl.when(pl.col("history") < limits.min_days)
            .then(pl.lit(SHORT_HISTORY))
            .when(pl.col("ratio") > limits.ratio)
            .then(pl.lit(UNUSUAL))
            .otherwise(pl.lit(OK))
        )
        .sort("ratio", "product_id", "business_date", descending=[True, False, False], nulls_last=True)
        .select("product_id", "business_date", "price", "expected", "ratio", "history", "verdict")
    )


def hours_since(newest: datetime | None, now: datetime) -> float | None:
    """Return the hours since an instant, never below 0; None where there is none."""
    return None if newest is None else max((now - newest) / timedelta(hours=1), 0.0)


def summary(verdicts: pl.DataFrame, thing: str) -> str:
    """Return in words how many were judged, and why the others were not.

    Args:
        verdicts: what a function of this module returned.
        thing: what a row is, in the plural.
    """
    counts = dict(verdicts.group_by("verdict").len().iter_rows())
    unusual, judged = counts.get(UNUSUAL, 0), counts.get(OK, 0) + counts.get(UNUSUAL, 0)
    text = f"{unusual:,} of {judged:,} {thing} unusual" if unusual else f"{judged:,} {thing} judged, all as usual"
    reasons = {
        SHORT_HISTORY: "too short a history",
        CLOSED: "without trade",
        HOLIDAY: "on a public holiday",
    }
    left_out = [f"{counts[verdict]:,} {words}" for verdict, words in reasons.items() if counts.get(verdict)]
    return f"{text}; not judged: {', '.join(left_out)}" if left_out else text


def judged(verdicts: pl.DataFrame) -> pl.DataFrame:
    """Return what could be judged, the farthest from the usual first."""
    return verdicts.filter(pl.col("verdict").is_in([OK, UNUSUAL]))


def worst(verdicts: pl.DataFrame) -> pl.DataFrame:
    """Return what is unusual, the worst first."""
    return verdicts.filter(verdict=UNUSUAL).drop("verdict")


def _dates(days: Collection[date]) -> pl.DataFrame:
    return pl.DataFrame({"business_date": sorted(days)}, schema={"business_date": pl.Date})


def _mad(column: str) -> pl.Expr:
    return (pl.col(column) - pl.col(column).median()).abs().median().alias("mad")


def _history(
    values: pl.DataFrame, days: Collection[date], back: Collection[int], keys: Sequence[str], column: str
) -> pl.DataFrame:
    """Return median and spread of the days before each day, by keys: business_date, *keys, expected, mad, history.

    Args:
        values: with business_date, the keys and the column.
        days: the days to judge.
        back: which days before a day are its history, counted back from it.
        keys: what is compared with itself.
        column: the values.
    """
    pairs = [(day, day - timedelta(days=number)) for day in sorted(days) for number in back]
    then = pl.DataFrame(pairs, schema={"day": pl.Date, "business_date": pl.Date}, orient="row")
    return (
        then.join(values, on="business_date")
        .group_by("day", *keys)
        .agg(expected=pl.col(column).median(), mad=_mad(column), history=pl.len())
        .rename({"day": "business_date"})
    )
