"""Broker and warehouse of the streaming benchmark: what is in them before anything is sent.

Does not belong here: starting services (`own_stack`), and what is measured (`streaming`).
"""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager

from clickhouse_connect.driver.client import Client

from retail_assets.bench.own_stack import own_stack
from retail_assets.bench.streaming_load import SCENARIO
from retail_assets.bench.waiting import until
from retail_assets.resources.clickhouse import connect
from retail_assets.resources.kafka import KafkaResource
from retail_assets.resources.migrations import migrate
from retail_assets.resources.topics import read_topic_settings
from retail_assets.resources.warehouse_schema import documented_columns
from retail_assets.settings import Settings
from retail_assets.simulator.simulation import simulate


@contextmanager
def streaming_stack(settings: Settings) -> Iterator[Settings]:
    """Start a broker and the warehouse of a retailer with a history, yield settings that name them, end them."""
    with own_stack(settings, ["kafka", "warehouse"]) as own:
        with contextlib.closing(connect(own, database="")) as client:
            migrate(client, own.clickhouse_database)
            _fill_star_schema(client)
        yield own


def _fill_star_schema(client: Client) -> None:
    """Give the warehouse what the service looks at beside its own tables: dimensions, eight weeks of sales, forecasts.

    The figures don't matter, their number does: they are a retailer's of the load's size.
    """
    world = simulate(SCENARIO).world
    stores = world.stores.with_row_index("store_key", offset=1)
    products = world.products.with_row_index("product_key", offset=1).with_columns(supplier_key=1)
    for table, rows in (("dim_store", stores), ("dim_product", products)):
        columns = [name for name, _, _ in documented_columns(table)]
        client.insert_arrow(table, rows.select(columns).to_arrow())
    client.command(
        "INSERT INTO fact_sales SELECT today() - 1 - d.number, 8 + h.number, s.store_key, p.product_key, 1, 2, 0, 1 "
        "FROM numbers(56) AS d CROSS JOIN numbers(12) AS h CROSS JOIN dim_store AS s CROSS JOIN dim_product AS p"
    )
    client.command(
        "INSERT INTO fact_forecast (run_date, store_key, product_key, target_date, horizon, mean, method) "
        "SELECT today() - 1, s.store_key, p.product_key, today() + d.number, d.number + 1, 12, 'bench' "
        "FROM numbers(7) AS d CROSS JOIN dim_store AS s CROSS JOIN dim_product AS p"
    )
    client.command("SYSTEM REFRESH VIEW rt_sales_profile_refresh")
    client.command("SYSTEM WAIT VIEW rt_sales_profile_refresh")


def empty(own: Settings, warehouse: Client) -> None:
    """Begin with empty topics and tables."""
    kafka = KafkaResource.of(own)
    wanted = read_topic_settings(own.mode)
    kafka.delete_topics(wanted)

    def made() -> bool:
        try:
            kafka.apply_topics(wanted)
            return not any(sum(kafka.state(name).end.values()) for name in wanted)
        except Exception:  # noqa: BLE001 -- deletion goes on in the background
            return False

    until(made, "the topics don't get empty")
    written = warehouse.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE 'rt_%' "
        "AND engine = 'ReplacingMergeTree'"
    )
    for (table,) in written.result_rows:
        warehouse.command(f"TRUNCATE TABLE {table}")
