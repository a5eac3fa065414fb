"""How the demand model is fed, trained, judged and asked, on Spark.

Used by the assets and by the backtest, so that what is measured is what runs every day. Does not belong here: what the
inputs are and how errors become quantiles (`domain`), and keeping models (`resources.model_registry`).
"""
