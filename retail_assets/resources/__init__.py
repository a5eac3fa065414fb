"""Connections to the world outside a run: Spark, the lake, Kafka and the warehouse.

Belongs here: typed Dagster resources that open and close connections and hide protocols. Does not belong here: what
is read or written (assets), and in which shape it is stored (IO managers).
"""
