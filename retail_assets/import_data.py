"""The commands that bring a retailer's own history into the lake: `retail import`.

Belongs here: the group, and sales by day. Does not belong here: what all imports have in common (`import_options`),
till lines (`import_transactions`), and importing (`imports`).
"""

from typing import Any

import click

from retail_assets.explained import explained
from retail_assets.import_options import ImportCommand, import_files, shared_options
from retail_assets.import_transactions import transactions


@click.group("import")
def import_data() -> None:
    """Your own history, from CSV or Parquet files into the lake: sales by day, or till lines."""


@import_data.command(cls=ImportCommand)
@shared_options
@explained
def sales(**given: Any) -> None:
    """Import sales at daily grain: one row per store, product and day.

    FILE is CSV (also packed with gzip) or Parquet; the first line of CSV names the columns. Importing the same days
    again replaces them. On days without a row, between a product's first row in a store and its last, nothing counts
    as sold.

    \b
    Sales     date, store_id, product_id, units
              optional: price, promotion (yes or no), on_hand, stockout_hours, revenue
    Products  product_id
              optional: name, department, category, subcategory, brand, cost, price, pack_size, shelf_life_days
    Stores    store_id
              optional: name, region, city, format, time_zone, opens_at_hour, closes_at_hour
    Events    date, name
              optional: kind (holiday makes it a public holiday), store_id, region

    \b
    Units may be fractions (kilograms). Price is of one unit. For example:
      date,store_id,product_id,units,price
      2024-05-01,S1,4011,12.5,1.99

    \b
    Look first, then import:
      retail import sales sales.csv --map units=qty_sold --dry-run
      retail import sales sales.csv --map units=qty_sold --tenant my_shop
      retail run --tenant my_shop
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from retail_assets.imports.columns import SALES
    from retail_assets.imports.common import Request
    from retail_assets.imports.sales import import_sales

    import_files(given, SALES, lambda fields, _, lake, work, note: import_sales(Request(**fields), lake, work, note))


import_data.add_command(transactions)
