"""What the project knows about retail, as pure functions on Polars frames.

Belongs here: formulas of the trade, each on one store's rows or on all stores alike. Does not belong here: reading and
writing tables, Dagster, Spark, settings, clocks.
"""
