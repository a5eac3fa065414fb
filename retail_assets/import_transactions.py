"""The command that brings till lines into the lake, or sends them through Kafka: `retail import transactions`.

Belongs here: its arguments, and the stream that takes its days from files. Does not belong here: importing (`imports`)
and sending (`simulator.tills.live`).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from retail_assets.explained import explained
from retail_assets.import_options import ImportCommand, import_files, shared_options
from retail_assets.simulate_live import alone, show_progress
from retail_assets.stopping import stopped_by_signals

if TYPE_CHECKING:
    from retail_assets.imports.common import Outcome
    from retail_assets.imports.transactions import BasketDays
    from retail_assets.imports.writing import Lake
    from retail_assets.settings import Settings

_MAX: Final = "max"
_NAME_DIGITS: Final = 12


class _Speed(click.ParamType[float | str]):
    """A number of seconds, or `max`."""

    name = "speed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        if value == _MAX:
            return _MAX
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not 0 < number <= 1e9:  # noqa: PLR2004 - a greater one is "at once" as well
            self.fail(
                f"{value!r} should be {_MAX}, or how many seconds of history a second has, such as 3600", param, ctx
            )
        return number


@click.command(cls=ImportCommand)
@shared_options
@click.option("--store", metavar="ID", help="The store of all lines, for files without a column of stores.")
@click.option(
    "--times-in",
    metavar="ZONE",
    help="The zone of all times that name none, such as UTC or Europe/London; each store's own by default: as --stores "
    "says, else --time-zone.",
)
@click.option(
    "--speed",
    type=_Speed(),
    metavar="N|max",
    help="Send the baskets through Kafka in the order of their time, N seconds of history a second, or as fast as the "
    "broker takes them, instead of writing them into the lake. Ctrl-C stops without loss; the same command goes on.",
)
@explained
def transactions(store: str | None, times_in: str | None, speed: float | str | None, **given: Any) -> None:
    """Import till lines: one row per line of a basket, with the time at which it was sold.

    FILE is CSV (also packed with gzip) or Parquet; the first line of CSV names the columns, in any order. Lines with
    the same store and transaction are one basket, wherever in the files they are. A negative quantity is a return.
    Importing the same transactions again replaces them. Lines that name another currency are rejected.

    \b
    Lines     transaction_id, occurred_at, store_id, product_id, quantity, unit_price
              optional: line_no, currency, payment_method, register_id, cashier_id, discount (of the whole line),
              promotion_id, kind (sale, return or void)
    Products  product_id
              optional: name, department, category, subcategory, brand, cost, price, pack_size, shelf_life_days
    Stores    store_id
              optional: name, region, city, format, time_zone, opens_at_hour, closes_at_hour
    Events    date, name
              optional: kind (holiday makes it a public holiday), store_id, region

    \b
    Times hold a date and a time, and perhaps a zone (Z, +02:00). For example:
      transaction_id,occurred_at,store_id,product_id,quantity,unit_price
      T1001,2024-05-01 08:30:00,S1,4011,2,1.99
      T1001,2024-05-01 08:30:00,S1,7310,-1,0.89

    \b
    Look first, then import:
      retail import transactions tills.csv --map occurred_at=sold_at --store S1 --dry-run
      retail import transactions tills.csv --map occurred_at=sold_at --store S1 --tenant my_shop
      retail run --tenant my_shop
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    from retail_assets.imports.columns import TRANSACTIONS
    from retail_assets.imports.transactions import TransactionsRequest, import_transactions

    def run(fields: dict[str, Any], settings: "Settings", lake: "Lake", work: Path, note: Any) -> "Outcome":
        request = TransactionsRequest(**fields, store=store, times_in=times_in, currency=settings.currency)
        if speed is None:
            return import_transactions(request, lake, work, note)
        if not request.dry_run:
            _require_topic(settings)
        return import_transactions(request, lake, work, note, lambda days: _send(days, settings, speed))

    import_files(given, TRANSACTIONS, run)


def _require_topic(settings: "Settings") -> None:
    """Refuse to begin where the baskets could not be sent in the end.

    Raises:
        BrokerError: no broker, or no such topic.
    """
    from retail_assets.contracts.topics import SALES_TRANSACTIONS
    from retail_assets.resources.kafka import KafkaResource

    kafka = KafkaResource.of(settings)
    kafka.state(kafka.name_of(SALES_TRANSACTIONS))


def _send(days: "BasketDays", settings: "Settings", speed: float | str) -> None:
    """Send baskets to the tenant's topics, at their pace, until the end or a stop.

    Raises:
        click.ClickException: a second signal didn't wait for the stop.
        ProducerError: no broker, no such topic, or somebody else sends the same.
    """
    from retail_assets.contracts.topics import tenant_topics
    from retail_assets.simulator.scenario import DirtRates
    from retail_assets.simulator.tills.live import LiveStream, by_speed
    from retail_assets.simulator.tills.pacing import AtOnce
    from retail_assets.simulator.tills.plan import StreamPlan

    stream = LiveStream(
        plan=StreamPlan(days, seed=0, rates=DirtRates(), topics=tenant_topics(settings.topic_prefix)),
        # The same baskets are the same stream: what of them was sent is not sent again.
        name=f"import-{days.digest[:_NAME_DIGITS]}",
        bootstrap_servers=settings.bootstrap_servers,
        on_progress=show_progress,
    )
    click.echo(f"stream {stream.name} to {settings.bootstrap_servers}; Ctrl-C stops it without loss", err=True)
    pace = (lambda _: AtOnce()) if isinstance(speed, str) else by_speed(speed)
    try:
        with stopped_by_signals() as stop, alone(settings.cache_dir, stream, stream.timeout_s):
            report = stream.run(days.first_date, None, pace, stop)
    except KeyboardInterrupt:
        raise click.ClickException("interrupted while sending; the same command goes on where it ended") from None
    for line in report.lines():
        click.echo(line)
    if report.stopped:
        click.echo("stopped; the same command goes on from here")
