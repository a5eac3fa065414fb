"""The `retail` command: one group, whose commands live with what they drive.

Belongs here: arguments, and turning what the platform explains into one line. Does not belong here: work.
"""

import contextlib
import sys
import warnings
from datetime import date, datetime
from pathlib import Path

import click

from retail_assets import __version__
from retail_assets.backtest_command import backtest
from retail_assets.dead_letters import dead_letters
from retail_assets.explained import explained
from retail_assets.import_data import import_data
from retail_assets.run_jobs import run
from retail_assets.settings import SettingsError, load_settings, unknown_variables
from retail_assets.simulate import simulate
from retail_assets.tenants import tenant_option
from retail_local import commands as local


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="retail")
def main() -> None:
    """Retail Assets: from the till to the reorder, on one machine or many."""
    with contextlib.suppress(SettingsError):  # each command says itself what is wrong with the settings
        for sentence in unknown_variables():
            click.echo(f"Warning: {sentence}", err=True)


@main.command()
@explained
def migrate() -> None:
    """Bring the warehouse's schema to the newest version."""
    from retail_assets.resources.clickhouse import connect
    from retail_assets.resources.migrations import migrate as apply

    settings = load_settings()
    client = connect(settings, database="")
    done = apply(client, settings.database)
    for migration in done:
        click.echo(f"applied {migration.version:04d}_{migration.name}")
    if not done:
        click.echo(f"database {settings.database} is at the newest version")


@main.group()
def topics() -> None:
    """The Kafka topics."""


@topics.command("apply")
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings to apply instead of those that ship with the code (infra/kafka/topics.toml).",
)
@tenant_option
@explained
def topics_apply(path: Path | None) -> None:
    """Create the topics that are missing and bring the others to their settings."""
    from retail_assets.resources.kafka import KafkaResource
    from retail_assets.resources.topics import read_topic_settings

    settings = load_settings()
    wanted = read_topic_settings(settings.mode, path)
    changes = KafkaResource.of(settings).apply_topics(
        {f"{settings.topic_prefix}{name}": one for name, one in wanted.items()}
    )
    for change in changes:
        click.echo(str(change))
    if not changes:
        click.echo("all topics are as they should be")


@topics.command("status")
@tenant_option
@explained
def topics_status() -> None:
    """Show for each topic of events what waits and what asks for somebody; exit code 1 if something does."""
    from retail_assets.contracts.topics import EVENT_TOPICS
    from retail_assets.resources.kafka import KafkaResource
    from retail_assets.resources.lake import LakeResource
    from retail_assets.resources.repair import standing

    settings = load_settings()
    kafka, lake = KafkaResource.of(settings), LakeResource(root=settings.lake)
    standings = [standing(topic, kafka, lake) for topic in EVENT_TOPICS]
    for one in standings:
        click.echo(str(one))
    if any(one.problems for one in standings):
        sys.exit(1)


@topics.command("adopt")
@click.argument("topic")
@tenant_option
@explained
def topics_adopt(topic: str) -> None:
    """Go on reading a TOPIC that was made anew or has lost its newest events; all rows of the lake stay."""
    from retail_assets.resources.kafka import KafkaResource
    from retail_assets.resources.lake import LakeResource
    from retail_assets.resources.repair import adopt, event_topic

    settings = load_settings()
    kafka, lake = KafkaResource.of(settings), LakeResource(root=settings.lake)
    click.echo(adopt(event_topic(topic), kafka, lake))


@topics.command("acknowledge")
@click.argument("topic")
@click.option("--note", required=True, help="Who knows of it, and what it came from; kept with the loss.")
@tenant_option
@explained
def topics_acknowledge(topic: str, note: str) -> None:
    """End the alarm about events of a TOPIC that the broker deleted before they were read."""
    from retail_assets.resources.lake import LakeResource
    from retail_assets.resources.repair import acknowledge, event_topic

    click.echo(acknowledge(event_topic(topic), LakeResource(root=load_settings().lake), note))


@main.command()
@click.option("--stores", type=click.IntRange(1, 500), default=10, show_default=True)
@click.option("--products", type=click.IntRange(1, 5000), default=120, show_default=True)
@click.option("--days", type=click.IntRange(90, 1100), default=400, show_default=True, help="Days, today among them.")
@click.option("--seed", type=int, default=7, show_default=True)
@click.option(
    "--today",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The day that is streamed; yesterday by default, the newest day that is over.",
)
@explained
def demo(stores: int, products: int, days: int, seed: int, today: datetime | None) -> None:
    """Send a retailer's day through the whole platform: tills, Kafka, lake, forecasts, reorder points, warehouse."""
    from retail_assets.demo.run import run_demo

    last: date | None = today.date() if today else None
    run_demo(load_settings(), stores=stores, products=products, days=days, seed=seed, last_date=last)


@main.command("class-data")
@explained
def class_data() -> None:
    """Let Spark start sooner: keep its classes as the JVM wants them in memory (200 MB, once per Java)."""
    from retail_assets.resources.spark_archive import build_archive

    made = build_archive(load_settings())
    click.echo("Spark's classes are archived" if made else "the archive of Spark's classes is there")


@main.group()
def bench() -> None:
    """Benchmarks of the platform, in folders of their own."""
    # Dagster says of each asset that uses a beta parameter; it would hide the figures.
    warnings.filterwarnings("ignore", message=".*is currently in beta")


@bench.command("overhead")
@click.option("--steps", type=click.IntRange(1, 6), default=5, show_default=True, help="Daily assets in the run.")
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Measured rounds.")
@click.option("--warm-ups", type=click.IntRange(min=1), default=2, show_default=True, help="Rounds before them.")
@click.option(
    "--partitions",
    type=click.IntRange(2, 366),
    default=100,
    show_default=True,
    help="Partitions of the run that measures the event log.",
)
@explained
def bench_overhead(steps: int, repeats: int, warm_ups: int, partitions: int) -> None:
    """Measure what a step costs beyond its own work, against plain Spark, and count a run's Spark applications."""
    from retail_assets.bench.overhead import Sizes, run_overhead

    run_overhead(load_settings(), Sizes(steps=steps, repeats=repeats, warm_ups=warm_ups, partitions=partitions))


@bench.command("simulator")
@click.option("--days", type=click.IntRange(8, 730), default=240, show_default=True, help="Days of the longer history.")
@click.option(
    "--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Processes that make history."
)
@click.option("--live-days", type=click.IntRange(1, 30), default=4, show_default=True, help="Days sent to the broker.")
@click.option("--lake/--no-lake", default=True, show_default=True, help="Make the history once more, into a lake.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, and nothing else.")
@explained
def bench_simulator(days: int, workers: int, live_days: int, lake: bool, as_json: bool) -> None:
    """Measure how fast history is made, and live tills against Kafka's own producer test on a real broker."""
    from retail_assets.bench.simulator import Sizes, run_simulator_bench

    run_simulator_bench(
        load_settings(), Sizes(days=days, workers=workers, live_days=live_days, lake=lake), as_json=as_json
    )


@bench.command("batch")
@click.option("--stores", type=click.IntRange(1, 500), default=25, show_default=True)
@click.option("--products", type=click.IntRange(1, 5000), default=548, show_default=True)
@click.option("--days", type=click.IntRange(30, 1100), default=730, show_default=True)
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Measured rounds of a day.")
@click.option(
    "--only",
    "parts",
    multiple=True,
    type=click.Choice(["features", "days", "import"]),
    help="This measurement alone; can be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, and nothing else.")
@explained
def bench_batch(stores: int, products: int, days: int, repeats: int, parts: tuple[str, ...], as_json: bool) -> None:
    """Measure features against Polars, a day after a short and a long history, a backfill, and an import."""
    from retail_assets.bench.batch import PARTS, Sizes, run_batch_bench

    run_batch_bench(load_settings(), Sizes(stores, products, days, repeats), parts or PARTS, as_json=as_json)


@bench.command("streaming")
@click.option("--rate", type=click.IntRange(min=1), default=1_000, show_default=True, help="Messages a second.")
@click.option("--seconds", type=click.IntRange(min=10), default=300, show_default=True, help="How long, for latency.")
@click.option(
    "--step-seconds", type=click.IntRange(min=10), default=60, show_default=True, help="How long at each rate."
)
@click.option("--backlog", type=click.IntRange(min=1), default=1_000_000, show_default=True, help="Messages that wait.")
@click.option("--week-days", type=click.IntRange(1, 60), default=7, show_default=True, help="Days of the long stream.")
@click.option(
    "--speed", type=click.FloatRange(min=1), default=3_600, show_default=True, help="Its seconds in a second."
)
@click.option(
    "--only",
    "parts",
    multiple=True,
    type=click.Choice(["latency", "sustained", "catch-up", "week"]),
    help="This measurement alone; can be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, and nothing else.")
@explained
def bench_streaming(
    rate: int,
    seconds: int,
    step_seconds: int,
    backlog: int,
    week_days: int,
    speed: float,
    parts: tuple[str, ...],
    as_json: bool,
) -> None:
    """Measure the streaming service on a real broker and warehouse: latency, rates, a backlog and a week's state."""
    from retail_assets.bench.streaming import PARTS, Sizes, run_streaming_bench

    sizes = Sizes(rate, seconds, step_seconds, backlog, week_days, speed)
    run_streaming_bench(load_settings(), sizes, parts or PARTS, as_json=as_json)


for _command in (local.up, local.down, local.status, local.doctor, local.logs, local.jars):
    main.add_command(_command)
for _command in (backtest, dead_letters, import_data, run, simulate):
    main.add_command(_command)


if __name__ == "__main__":
    sys.exit(main())
