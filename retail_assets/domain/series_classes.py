"""Classes of series: how regularly they sell, and how much of their store's turnover they make.

Belongs here: the classes and their borders. Does not belong here: what is decided or judged by class.
"""

from typing import Final

import polars as pl

from retail_assets.domain.demand import days_of_known_demand
from retail_assets.domain.frames import SERIES

#: Borders between classes of demand (Syntetos, Boylan and Croston, "On the categorization of demand patterns", 2005).
ADI_CUT: Final = 1.32
CV2_CUT: Final = 0.49
DEMAND_CLASSES: Final = ("smooth", "erratic", "intermittent", "lumpy")

#: Classes of turnover, from much to little.
ABC_CLASSES: Final = ("A", "B", "C")
_ABC_DAYS: Final = 90
_A_SHARE: Final = 0.8
_B_SHARE: Final = 0.95


def demand_classes(history: pl.DataFrame) -> pl.DataFrame:
    """Return how regularly each series sells, by the days of `history` alone.

    Days are counted from the first sale: before it a product was not on sale, or nobody can tell. Days of unknown
    demand count for nothing.

    Args:
        history: store_id, product_id, business_date, demand (units per day; null where unknown). What lies after the
            first origin of a backtest does not belong in it.

    Returns:
        One row per series with a sale: store_id, product_id, adi (mean days from sale to sale), size_cv2 (squared
        coefficient of variation of the units of days with a sale; 0 for a single one), demand_class (one of
        `DEMAND_CLASSES`). Series without a sale have no class.
    """
    demand = pl.col("demand")
    sold = demand.filter(demand > 0)
    seldom, uneven = pl.col("adi") >= ADI_CUT, pl.col("size_cv2") >= CV2_CUT
    return (
        days_of_known_demand(history)
        .filter(pl.col("business_date") >= pl.col("business_date").filter(demand > 0).min().over(*SERIES))
        .group_by(*SERIES)
        .agg(adi=pl.len() / sold.len(), size_cv2=((sold.std() / sold.mean()) ** 2).fill_null(0.0))
        .with_columns(
            demand_class=pl.when(seldom & uneven)
            .then(pl.lit("lumpy"))
            .when(seldom)
            .then(pl.lit("intermittent"))
            .when(uneven)
            .then(pl.lit("erratic"))
            .otherwise(pl.lit("smooth"))
        )
        .sort(*SERIES)
    )


def abc_classes(history: pl.DataFrame) -> pl.DataFrame:
    """Return how much of its store's turnover each series makes: A the first 80 %, B the next 15 %, C the rest.

    By store, because it is a store that orders: the best seller of a small store would be a C among all. A series
    belongs to the class in which its first unit of turnover lies, so the one that crosses a border is still above it,
    and each store that sells anything has an A.

    Args:
        history: store_id, product_id, business_date, demand (units per day; null where unknown), and revenue (money
            per day) where turnover is to be counted in money. The last 90 days of it count.

    Returns:
        One row per series of those days: store_id, product_id, turnover (units or money), abc_class.
    """
    turnover = "revenue" if "revenue" in history.columns else "demand"
    recent = history.filter(
        pl.col("business_date") > pl.col("business_date").max() - pl.duration(days=_ABC_DAYS),
    )
    before = (pl.col("turnover").cum_sum() - pl.col("turnover")) / pl.col("turnover").sum()
    return (
        recent.group_by(*SERIES)
        .agg(turnover=pl.col(turnover).cast(pl.Float64).fill_nan(None).sum().clip(lower_bound=0.0))
        .sort("store_id", "turnover", "product_id", descending=[False, True, False])
        .with_columns(before=before.over("store_id"))
        .with_columns(
            # Not a number, where a store has sold nothing at all, is below no border.
            abc_class=pl.when((pl.col("turnover") > 0) & (pl.col("before") < _A_SHARE))
            .then(pl.lit("A"))
            .when((pl.col("turnover") > 0) & (pl.col("before") < _B_SHARE))
            .then(pl.lit("B"))
            .otherwise(pl.lit("C"))
        )
        .drop("before")
        .sort(*SERIES)
    )
