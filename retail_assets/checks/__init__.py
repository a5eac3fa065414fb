"""Data quality: what blocks bad data before it spreads.

Belongs here: turning contracts into Dagster asset checks. Does not belong here: the contracts themselves.
"""
