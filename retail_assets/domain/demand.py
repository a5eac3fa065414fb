"""Demand: what would have sold, had the shelf never been empty.

Belongs here: the step from sales to demand. Does not belong here: forecasting it.
"""

from typing import Final

import polars as pl

#: No day's sales are scaled up by more than this.
MAX_SCALE: Final = 2.0


def _expression(column: pl.Expr | str) -> pl.Expr:
    return (pl.col(column) if isinstance(column, str) else column).cast(pl.Float64)


def uncensored_demand(units: pl.Expr | str, stockout_hours: pl.Expr | str, open_hours: pl.Expr | str) -> pl.Expr:
    """Return the demand of a day from its sales and its hours without stock.

    Sales stop when the shelf is empty, so they are demand cut off from above (censored). With stock for a share `a`
    of the trading hours and demand spread evenly over them:

    - `a` = 1: demand is what was sold.
    - otherwise units / `a`, with the factor kept to `MAX_SCALE`. The cap is needed: days run out *because* much sold
      early, so units / `a` is too high on average, and without bound where a single unit was left and sold in the
      first minute.
    - Nothing sold and stock for less than 1 / `MAX_SCALE` of the hours, which includes every day without stock:
      unknown (null). Nothing says that nobody asked; a zero here would teach a model that empty shelves are what
      customers want, and the next order would be smaller still.
    - Something sold though the books had no stock all day: the books are wrong, not the till; demand is what was sold.

    Sales below zero (more returned than sold) are demand of zero. Hours that are not known, or a day without trading
    hours, tell nothing about stock: demand is what was sold.

    Args:
        units: net units sold; null gives null.
        stockout_hours: hours of trade with nothing on hand.
        open_hours: hours of trade.

    Returns:
        Expression, units as Float64: at least `units`, at least 0, or null for unknown.
    """
    sold = _expression(units).clip(lower_bound=0.0)
    hours = _expression(open_hours)
    in_stock = (
        pl.when(hours > 0).then(1.0 - _expression(stockout_hours) / hours).otherwise(1.0).fill_null(1.0).clip(0.0, 1.0)
    )
    scale = (1.0 / in_stock).clip(upper_bound=MAX_SCALE)
    return (
        pl.when((sold == 0) & (in_stock < 1.0 / MAX_SCALE))
        .then(None)
        .when(in_stock == 0)
        .then(sold)
        .otherwise(sold * scale)
    )


def days_of_known_demand(history: pl.DataFrame) -> pl.DataFrame:
    """Return the days of a history (with a column `demand`, units) whose demand is known, in units as Float64."""
    return history.with_columns(pl.col("demand").cast(pl.Float64).fill_nan(None)).drop_nulls("demand")
