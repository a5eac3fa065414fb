"""When and how much to order.

Belongs here: reorder points, order quantities and their reasons, from forecasts, stock and suppliers. Does not belong
here: making forecasts, sending orders, and replaying policies against each other.
"""

import math
from datetime import date, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from retail_assets.contracts.tables import (
    FORECAST_HORIZON_DAYS,
    FORECASTS_DEMAND_7D,
    INVENTORY_REORDER_POINTS,
    REFERENCE_PRODUCTS,
    REFERENCE_PURCHASE_ORDERS,
    REFERENCE_SUPPLIERS,
)
from retail_assets.contracts.types import QUANTITY, Column
from retail_assets.domain.errors import ErrorModel, FloatArray
from retail_assets.domain.frames import SERIES, columns_of, conform, typed

DEFAULT_SERVICE_LEVEL: Final = 0.95
#: What is assumed of a supplier that nobody knows; every row that rests on it says so.
UNKNOWN_SUPPLIER: Final = "unknown"
DEFAULT_LEAD_TIME_DAYS: Final = 7.0
DEFAULT_LEAD_TIME_SD: Final = 2.0
DEFAULT_REVIEW_DAYS: Final = 7
#: An order this late will not come; counting on it would stop all further orders for good.
LOST_AFTER_DAYS: Final = 28
#: Cover of stock that hardly sells; a greater number says nothing more.
MAX_DAYS_OF_COVER: Final = 999.0

_FORECASTS: Final = columns_of(FORECASTS_DEMAND_7D, *SERIES, "horizon", "mean", "run_date")
_STOCK: Final = (
    *columns_of(FORECASTS_DEMAND_7D, *SERIES),
    Column("on_hand", QUANTITY, "Units on hand at the end of the run date.", unit="units"),
)
_ORDERS: Final = columns_of(REFERENCE_PURCHASE_ORDERS, *SERIES, "ordered_on", "expected_on", "received_on", "quantity")
_PRODUCTS: Final = columns_of(
    REFERENCE_PRODUCTS, "product_id", "supplier_id", "pack_size", "minimum_order_packs", "shelf_life_days"
)
_SUPPLIERS: Final = columns_of(
    REFERENCE_SUPPLIERS, "supplier_id", "lead_time_days_mean", "lead_time_days_sd", "review_period_days"
)
#: Variance this little above the mean is Poisson's; the negative binomial's parameters run off to infinity there.
_NEARLY_POISSON: Final = 1.0 + 1e-6
#: Less demand than one unit in three thousand years is none; distributions of still less lose their footing.
_NEARLY_NOTHING: Final = 1e-6
#: Quotients of floats a hair above a whole number of packs are that number.
_HAIR: Final = 1e-9


def demand_quantile(mean: npt.ArrayLike, variance: npt.ArrayLike, probability: npt.ArrayLike) -> FloatArray:
    """Return the least whole number of units that demand stays within with at least `probability`.

    Demand is counted in units and, for slow sellers, mostly zero: negative binomial, or Poisson where the variance
    isn't above the mean (Silver, Pyke and Thomas, "Inventory and Production Management in Supply Chains", on slow
    movers).

    Args:
        mean: expected demand, units.
        variance: units².
        probability: between 0 and 1, exclusive.

    Returns:
        Units, whole numbers; 0 where the mean is (nearly) 0.
    """
    mean_, variance_, level = np.broadcast_arrays(
        np.asarray(mean, np.float64), np.asarray(variance, np.float64), np.asarray(probability, np.float64)
    )
    result = np.zeros(mean_.shape)
    over = (mean_ > _NEARLY_NOTHING) & (variance_ > mean_ * _NEARLY_POISSON)
    even = (mean_ > _NEARLY_NOTHING) & ~over
    size, share = _negative_binomial(mean_[over], variance_[over])
    from scipy.stats import nbinom, poisson  # slow to import, and the code location only needs the names above

    result[over] = nbinom.ppf(level[over], size, share)
    result[even] = poisson.ppf(level[even], mean_[even])
    return result


def demand_exceeds(mean: npt.ArrayLike, variance: npt.ArrayLike, available: npt.ArrayLike) -> FloatArray:
    """Return the probability that demand is greater than what is available, by the same distribution.

    Args:
        mean: expected demand, units.
        variance: units².
        available: units.

    Returns:
        Probabilities; 0 where the mean is (nearly) 0.
    """
    mean_, variance_, units = np.broadcast_arrays(
        np.asarray(mean, np.float64), np.asarray(variance, np.float64), np.asarray(available, np.float64)
    )
    result = np.zeros(mean_.shape)
    over = (mean_ > _NEARLY_NOTHING) & (variance_ > mean_ * _NEARLY_POISSON)
    even = (mean_ > _NEARLY_NOTHING) & ~over
    size, share = _negative_binomial(mean_[over], variance_[over])
    from scipy.stats import nbinom, poisson

    result[over] = nbinom.sf(np.floor(units[over] + _HAIR), size, share)
    result[even] = poisson.sf(np.floor(units[even] + _HAIR), mean_[even])
    return np.clip(result, 0.0, 1.0)


def _negative_binomial(mean: FloatArray, variance: FloatArray) -> tuple[FloatArray, FloatArray]:
    return mean**2 / (variance - mean), mean / variance


def _total_over(daily: FloatArray, days: FloatArray) -> FloatArray:
    """Return the sum over the first `days` days of each row, where the week of `daily` repeats itself.

    So days beyond the forecast's horizon are taken by their weekday. A part of a day counts in part.

    Args:
        daily: one row per series, one column per day of the week ahead.
        days: one number per series, at least 0.
    """
    whole = np.floor(days)
    weeks, rest = np.divmod(whole, FORECAST_HORIZON_DAYS)
    sums = np.concatenate([np.zeros((len(daily), 1)), np.cumsum(daily, axis=1)], axis=1)
    row, column = np.arange(len(daily)), rest.astype(np.int64)
    total: FloatArray = weeks * sums[:, -1] + sums[row, column] + (days - whole) * daily[row, column]
    return total


def lead_time_demand(
    daily_means: FloatArray, days: FloatArray, days_sd: FloatArray, error_model: ErrorModel
) -> tuple[FloatArray, FloatArray]:
    """Return mean and variance of demand over a span of days of uncertain length.

    Mean: the sum of daily means. Variance: that of the errors plus mean daily demand² · variance of the length
    (Silver, Pyke and Thomas, as above). The errors of the days are not independent: a forecast that is too low on
    Monday is too low on Tuesday. With daily standard deviations s and correlation c of any two days the variance of
    their sum is (1 - c) · Σs² + c · (Σs)².

    Args:
        daily_means: units per day; one row per series, one column per day of the week ahead.
        days: mean length, one per series.
        days_sd: standard deviation of the length, days.
        error_model: gives s and c.

    Returns:
        Mean (units) and variance (units²), one per series.
    """
    daily_sd = error_model.sd(daily_means)
    # A day that is forecast at exactly nothing has no error: a product that doesn't sell needs no safety stock.
    daily_sd = np.where(daily_means > 0, daily_sd, 0.0)
    mean = _total_over(daily_means, days)
    alone, together = _total_over(daily_sd**2, days), _total_over(daily_sd, days) ** 2
    errors = (1.0 - error_model.correlation) * alone + error_model.correlation * together
    return mean, errors + daily_means.mean(axis=1) ** 2 * days_sd**2


def _daily_means(forecasts: pl.DataFrame) -> pl.DataFrame:
    """Return one row per series with a column for each of the days ahead; a day without forecast is a mean day."""
    days = [str(number) for number in range(1, FORECAST_HORIZON_DAYS + 1)]
    mean = pl.col("mean").fill_nan(None)
    return (
        forecasts.group_by(SERIES)
        .agg(
            *(mean.filter(pl.col("horizon") == int(day)).first().alias(day) for day in days),
            average=mean.mean(),
        )
        .with_columns(pl.coalesce(day, "average", 0.0).clip(lower_bound=0.0).alias(day) for day in days)
        .sort(SERIES)
        .select(*SERIES, *days)
    )


def _open_orders(orders: pl.DataFrame, run_date: date) -> pl.DataFrame:
    """Return open orders, as known on the run date: what is counted on, by when it comes, and what isn't."""
    lost = (pl.col("expected_on") < run_date - timedelta(days=LOST_AFTER_DAYS)).fill_null(value=False)
    return (
        typed(orders, _ORDERS)
        .filter(
            pl.col("ordered_on") <= run_date,
            pl.col("received_on").is_null() | (pl.col("received_on") > run_date),
            pl.col("quantity") > 0,
        )
        .select(
            *SERIES,
            days_until=(pl.col("expected_on") - pl.lit(run_date)).dt.total_days(),
            coming=pl.when(~lost).then(pl.col("quantity")).cast(pl.Float64).fill_null(0.0),
            lost=pl.when(lost).then(pl.col("quantity")).cast(pl.Float64).fill_null(0.0),
        )
    )


def _terms(
    forecasts: pl.DataFrame,
    stock: pl.DataFrame,
    orders: pl.DataFrame,
    products: pl.DataFrame,
    suppliers: pl.DataFrame,
    run_date: date,
) -> pl.DataFrame:
    """Return one row per series with everything that a decision needs, defaults filled in and marked."""
    held = typed(stock, _STOCK).group_by(SERIES).agg(pl.col("on_hand").cast(pl.Float64).last())
    catalogue = typed(products, _PRODUCTS).unique("product_id", keep="first", maintain_order=True)
    delivery = typed(suppliers, _SUPPLIERS).unique("supplier_id", keep="first", maintain_order=True)
    coming = _open_orders(orders, run_date)
    lead, lead_sd, review = (pl.col(column.name) for column in _SUPPLIERS[1:])
    lead_known = lead.is_not_null() & lead.is_finite() & (lead >= 0)
    rows = (
        _daily_means(forecasts)
        .join(held, on=SERIES, how="left")
        .join(catalogue.with_columns(in_catalogue=True), on="product_id", how="left")
        .join(delivery, on="supplier_id", how="left")
        .with_columns(
            stock_known=pl.col("on_hand").is_not_null(),
            in_catalogue=pl.col("in_catalogue").fill_null(value=False),
            lead_known=lead_known.fill_null(value=False),
            pack_known=(pl.col("pack_size") >= 1).fill_null(value=False),
        )
        .with_columns(
            pl.col("on_hand").fill_null(0.0),
            pl.col("supplier_id").fill_null(UNKNOWN_SUPPLIER),
            lead_time_days=pl.when("lead_known").then(lead).otherwise(DEFAULT_LEAD_TIME_DAYS),
            lead_time_sd=pl.when(pl.col("lead_known") & (lead_sd >= 0) & lead_sd.is_finite())
            .then(lead_sd)
            .otherwise(pl.when("lead_known").then(0.0).otherwise(DEFAULT_LEAD_TIME_SD)),
            review_period_days=pl.when(review >= 1).then(review).otherwise(DEFAULT_REVIEW_DAYS).cast(pl.Float64),
            pack=pl.when("pack_known").then("pack_size").otherwise(1).cast(pl.Float64),
            minimum_packs=pl.max_horizontal(pl.col("minimum_order_packs").fill_null(1), 1).cast(pl.Float64),
            shelf_life=pl.col("shelf_life_days").fill_null(0).clip(lower_bound=0).cast(pl.Float64),
        )
    )
    arriving = (
        coming.join(rows.select(*SERIES, "lead_time_days"), on=SERIES)
        .group_by(SERIES)
        .agg(
            on_order=pl.col("coming").sum(),
            in_time=pl.col("coming").filter(pl.col("days_until") <= pl.col("lead_time_days")).sum(),
            lost=pl.col("lost").sum(),
        )
    )
    return rows.join(arriving, on=SERIES, how="left").with_columns(pl.col("on_order", "in_time", "lost").fill_null(0.0))


def _number(expression: pl.Expr) -> pl.Expr:
    """Return a number as people write it: whole from ten on, else with a decimal where it has one."""
    rounded = pl.when(expression.abs() >= 10).then(expression.round(0)).otherwise(expression.round(1))  # noqa: PLR2004
    whole = rounded == rounded.round(0)
    return pl.when(whole).then(rounded.cast(pl.Int64).cast(pl.String)).otherwise(rounded.cast(pl.String))


def _counted(expression: pl.Expr, singular: str) -> pl.Expr:
    text = _number(expression)
    return pl.when(text == "1").then(pl.lit(f"1 {singular}")).otherwise(pl.format(f"{{}} {singular}s", text))


def _with_reason(decisions: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with `reason`: the proposal as a sentence for a store manager, then what it rests on."""
    texts = decisions.select(
        "order_quantity",
        "cut_by_shelf_life",
        "reorder_point",
        order=_number(pl.col("order_quantity")),
        packs=_counted(pl.col("order_quantity") / pl.col("pack"), "pack"),
        left=_number(pl.max_horizontal("on_hand", 0.0)),
        coming=pl.when(pl.col("on_order") > 0)
        .then(pl.format(", {} on order", _number(pl.col("on_order"))))
        .otherwise(pl.lit("")),
        expected=_number(pl.col("expected_demand")),
        until=_counted(pl.col("lead_time_days") + pl.col("review_period_days"), "day"),
        life=_counted(pl.col("shelf_life"), "day"),
        least=_number(pl.col("pack") * pl.col("minimum_packs")),
        sells=_number(pl.col("sells_within_shelf_life")),
        point=_number(pl.col("reorder_point")),
        notes=_notes(),
    )
    proposal = (
        pl.when((pl.col("order_quantity") > 0) & pl.col("cut_by_shelf_life"))
        .then(
            pl.format(
                "Order {} ({}): {} left{}, {} expected in the {} until the next order can arrive."
                " Kept to what sells within {} of shelf life.",
                *("order", "packs", "left", "coming", "expected", "until", "life"),
            )
        )
        .when(pl.col("order_quantity") > 0)
        .then(
            pl.format(
                "Order {} ({}): {} left{}, {} expected in the {} until the next order can arrive.",
                *("order", "packs", "left", "coming", "expected", "until"),
            )
        )
        .when("cut_by_shelf_life")
        .then(
            pl.format(
                "No order: {} left{}, and of a delivery of at least {} only {} would sell within {} of shelf life.",
                *("left", "coming", "least", "sells", "life"),
            )
        )
        .when(pl.col("reorder_point") <= 0)
        .then(
            pl.format(
                "No order: {} left{}, and so little sells that no stock is needed for the service level.",
                *("left", "coming"),
            )
        )
        .otherwise(pl.format("No order: {} left{}, enough for a reorder point of {}.", *("left", "coming", "point")))
    )
    return decisions.with_columns(texts.select(reason=pl.concat_str(proposal, "notes"))["reason"])


def _notes() -> pl.Expr:
    """Return a sentence for each thing that was missing or impossible."""
    note = {
        " Stock unknown, taken as 0.": ~pl.col("stock_known"),
        " The books show less than nothing, taken as 0: count the shelf.": pl.col("on_hand") < 0,
        " Not in the catalogue: supplier, pack size and shelf life unknown.": ~pl.col("in_catalogue"),
        " Pack size unknown: single units.": pl.col("in_catalogue") & ~pl.col("pack_known"),
        f" Lead time unknown, taken as {DEFAULT_LEAD_TIME_DAYS:.0f} days.": ~pl.col("lead_known"),
        f" An order more than {LOST_AFTER_DAYS} days late is not counted on.": pl.col("lost") > 0,
    }
    notes = [pl.when(condition).then(pl.lit(text)).otherwise(pl.lit("")) for text, condition in note.items()]
    return pl.concat_str(notes)


def reorder_points(
    forecasts: pl.DataFrame,
    stock: pl.DataFrame,
    orders: pl.DataFrame,
    products: pl.DataFrame,
    suppliers: pl.DataFrame,
    error_model: ErrorModel,
    run_date: date,
    service_level: float = DEFAULT_SERVICE_LEVEL,
) -> pl.DataFrame:
    """Return when and how much to order of every series that is forecast.

    Periodic review: what isn't ordered now can be ordered one review period R later and then takes the lead time L, so
    stock has to last for L + R. The reorder point is the quantile of demand over L + R at the service level (see
    `lead_time_demand` and `demand_quantile`). When on hand plus on order is at or below it, an order brings it up to
    the order-up-to level, which is the reorder point plus the expected demand of one further review period, so that
    not every review brings a small order: an (R, s, S) policy (Silver, Pyke and Thomas). Then:

    - Quantities are whole packs, rounded up, and at least the supplier's minimum.
    - Where a product spoils, no more than what is expected to sell in the shelf life that begins on delivery, after
      what is then still there; in whole packs, rounded down. If the minimum is more than that: nothing.
    - Where zero stock already gives the service level, nothing.

    What is missing or impossible is replaced by a default, and the row's reason says so: no row is dropped for it.
    Negative stock counts as 0. A lead time of 0 is delivery before trade begins.

    Args:
        forecasts: `forecasts/demand_7d`; rows of other run dates are ignored.
        stock: store_id, product_id, on_hand: units at the end of the run date.
        orders: `reference/purchase_orders`; open on the run date are those ordered by then and not received by then.
        products: `reference/products`.
        suppliers: `reference/suppliers`.
        error_model: of the forecasts.
        run_date: last day whose sales and stock are known.
        service_level: probability of no stock-out between now and when the next order can arrive.

    Returns:
        `inventory/reorder_points`, exactly: one row per series of `forecasts`. stockout_risk is the probability that
        demand over the mean lead time is greater than on hand and what is due by then; an overdue order counts as due.

    Raises:
        ValueError: the service level isn't strictly between 0 and 1.
    """
    if not 0.0 < service_level < 1.0:
        raise ValueError(f"a service level lies between 0 and 1, got {service_level}")
    known = typed(forecasts, _FORECASTS).filter(pl.col("run_date") == run_date)
    rows = _terms(known, stock, orders, products, suppliers, run_date)
    value = {
        name: rows[name].to_numpy()
        for name in (
            "on_hand",
            "on_order",
            "in_time",
            "lead_time_days",
            "lead_time_sd",
            "review_period_days",
            "pack",
            "minimum_packs",
            "shelf_life",
        )
    }
    daily = rows.select(str(day) for day in range(1, FORECAST_HORIZON_DAYS + 1)).to_numpy().astype(np.float64)
    lead, review = value["lead_time_days"], value["review_period_days"]
    usable = np.maximum(value["on_hand"], 0.0)
    position = usable + value["on_order"]

    expected, variance = lead_time_demand(daily, lead + review, value["lead_time_sd"], error_model)
    reorder_point = demand_quantile(expected, variance, service_level)
    order_up_to = reorder_point + _total_over(daily, lead + 2 * review) - expected
    lead_mean, lead_variance = lead_time_demand(daily, lead, value["lead_time_sd"], error_model)

    packs = np.ceil((order_up_to - position) / value["pack"] - _HAIR)
    wanted = np.where(
        (position <= reorder_point) & (reorder_point > 0) & (packs > 0), np.maximum(packs, value["minimum_packs"]), 0.0
    )
    sells = _total_over(daily, lead + value["shelf_life"]) - lead_mean
    fresh = np.maximum(sells - np.maximum(position - lead_mean, 0.0), 0.0)
    room = np.where(value["shelf_life"] > 0, np.floor(fresh / value["pack"] + _HAIR), math.inf)
    allowed = np.minimum(wanted, np.where(room >= value["minimum_packs"], room, 0.0))

    mean_daily = daily.mean(axis=1)
    cover = np.full(len(rows), MAX_DAYS_OF_COVER)
    np.divide(usable, mean_daily, out=cover, where=mean_daily * MAX_DAYS_OF_COVER > usable)
    cover = np.where(usable > 0, cover, 0.0)
    result = rows.with_columns(
        service_level=pl.lit(service_level),
        expected_demand=expected,
        safety_stock=reorder_point - expected,
        reorder_point=reorder_point,
        order_up_to=order_up_to,
        order_quantity=allowed * value["pack"],
        days_of_cover=cover,
        stockout_risk=demand_exceeds(lead_mean, lead_variance, usable + value["in_time"]),
        sells_within_shelf_life=fresh,
        cut_by_shelf_life=allowed < wanted,
        run_date=pl.lit(run_date),
    )
    return conform(_with_reason(result), INVENTORY_REORDER_POINTS)


def most_urgent(reorders: pl.DataFrame, n: int) -> pl.DataFrame:
    """Return the rows to look at first: those whose shelf is likely to run out, where much would be lost.

    Ordered by stock-out risk times the units that demand until the delivery exceeds stock by, then by risk times that
    demand, then by risk; ties by store and product, so that the same rows always come in the same order.

    Args:
        reorders: `inventory/reorder_points`.
        n: how many rows at most.

    Returns:
        At most `n` of the rows, as they are, most urgent first.
    """
    span = pl.col("lead_time_days") + pl.col("review_period_days")
    demand = pl.when(span > 0).then(pl.col("expected_demand") * pl.col("lead_time_days") / span).otherwise(0.0)
    risk = pl.col("stockout_risk")
    lost = (demand - pl.col("on_hand").clip(lower_bound=0.0)).clip(lower_bound=0.0)
    ranked = typed(reorders, INVENTORY_REORDER_POINTS.columns).with_columns(
        pl.struct(a=risk * lost, b=risk * demand, c=risk).alias("urgency")
    )
    return (
        ranked.unnest("urgency")
        .sort("a", "b", "c", *SERIES, descending=[True, True, True, False, False])
        .head(max(n, 0))
        .drop("a", "b", "c")
    )
