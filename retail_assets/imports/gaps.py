"""Days of a series that count as nothing sold only because their row was rejected.

Belongs here: finding them. Does not belong here: rejecting rows (`checking`, `buckets`), and filling gaps with zeros
(`domain.imported`).
"""

from collections.abc import Iterable, Sequence
from typing import Final

import polars as pl

from retail_assets.domain.frames import SERIES
from retail_assets.imports.checking import Rejections, Understanding
from retail_assets.imports.reading import ROW

_KEY: Final = [*SERIES, "business_date"]
_SCHEMA: Final = pl.Schema({"store_id": pl.String(), "product_id": pl.String(), "business_date": pl.Date()})


def rejected_days(sales: Sequence[Understanding], rejections: Rejections) -> pl.DataFrame:
    """Return the days of series that rejected rows are about: store_id, product_id, business_date, each once.

    Rows that lack one of these, or have none that can be read, are left out: nobody knows whose they are.

    Args:
        sales: the files of sales at daily grain, in the order of the import.
        rejections: of the import.
    """
    found = [pl.DataFrame(schema=_SCHEMA)]
    for place, one in enumerate(sales):
        of_file = rejections.of(place)
        if of_file.is_empty():
            continue
        days = {text: day for text, (day, _) in one.dates.items() if day is not None}
        for batch in one.file.batches(["date", *SERIES]):
            rows = batch.join(of_file, on=ROW, how="semi")
            keys = rows.select(
                *(pl.col(name).str.strip_chars().replace("", None) for name in SERIES),
                pl.col("date").replace_strict(days, default=None, return_dtype=pl.Date).alias("business_date"),
            )
            found.append(keys.drop_nulls().unique())
    return pl.concat(found).unique()


def without_sales(
    days: pl.DataFrame, assortment: pl.DataFrame, trade: pl.DataFrame, sales: Iterable[pl.DataFrame]
) -> pl.DataFrame:
    """Return which days of series count as nothing sold: on sale, with a row of the store, and without one themselves.

    Args:
        days: store_id, product_id, business_date.
        assortment: `reference/assortment`.
        trade: store_id, business_date: the days on which each store has any row.
        sales: what the lake will hold, in parts; at least the columns of `days`.
    """
    on_sale = (
        days.join(assortment.select(*SERIES, "listed_from", "listed_until"), on=SERIES)
        .filter(pl.col("business_date") >= pl.col("listed_from"))
        .filter(pl.col("listed_until").is_null() | (pl.col("business_date") <= pl.col("listed_until")))
        .select(_KEY)
        .join(trade, on=["store_id", "business_date"], how="semi")
    )
    if on_sale.is_empty():
        return on_sale
    for part in sales:
        on_sale = on_sale.join(part, on=_KEY, how="anti")
    return on_sale.sort(_KEY)
