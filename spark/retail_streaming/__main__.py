"""The `retail-streaming` command.

Belongs here: arguments, exit codes, and turning what the service explains into one line. Does not belong here: work.
Exit codes: 0 after a good end, 1 when something failed, 2 when an argument or a setting is wrong.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from retail_streaming import logs
from retail_streaming.errors import SettingsError, StreamingError
from retail_streaming.settings import StreamingSettings, load_settings


def _run(settings: StreamingSettings) -> None:
    from retail_streaming.checkpoints import alone
    from retail_streaming.service import Service

    try:
        with alone(settings):
            Service(settings).run()
    except StreamingError as error:
        logs.log(logging.ERROR, "service failed", error=str(error))
        raise
    logs.log(logging.INFO, "service stopped")


def _check(settings: StreamingSettings) -> None:
    from retail_streaming import session
    from retail_streaming.queries import QUERIES
    from retail_streaming.service import require_all, topics_of

    _say("settings are right")
    spark = session.start(settings)
    try:
        _say(f"Spark {spark.version} runs, with all jars")
        require_all(spark, settings)
    finally:
        spark.stop()
    _say(f"the broker at {settings.bootstrap_servers} has {', '.join(topic.name for topic in topics_of(QUERIES))}")
    _say(
        f"the warehouse at {settings.clickhouse_host}:{settings.clickhouse_port} has "
        f"{', '.join(target.table for query in QUERIES for target in query.targets)}"
    )


def _fetch_jars(settings: StreamingSettings) -> None:
    from retail_streaming import installation

    installation.fetch(settings.cache_dir, settings.java_home, settings.jar_groups, _say)


def _begin_anew(settings: StreamingSettings, names: Sequence[str], *, forget: bool) -> None:
    from retail_streaming.checkpoints import alone, set_aside
    from retail_streaming.queries import QUERIES

    known = [query.name for query in QUERIES]
    if unknown := [name for name in names if name not in known]:
        raise SettingsError(f"there is no query {', '.join(unknown)}: the queries are {', '.join(known)}")
    keeping = [query.name for query in QUERIES if not any(target.versioned for target in query.targets)]
    if forget and (never := [name for name in names if name in keeping]):
        raise SettingsError(
            f"{', '.join(never)} can't forget: its rows don't say which start of the service wrote them"
        )
    for name in names:
        with alone(settings):
            aside = set_aside(settings, name, datetime.now(UTC), forget=forget)
        if aside is None:
            _say(f"{name} has no checkpoint: it begins anew in any case")
        else:
            _say(f"{name} begins anew with the next start of the service; its checkpoint is now {aside}")
        if forget:
            _say(f"when {name} has read all that its topics have, it deletes the rows that these don't bring again")


_COMMANDS = {
    "run": (_run, "run until SIGTERM; a restart goes on where the last run was"),
    "check": (_check, "check settings, Java, jars, broker, topics, warehouse and tables, and end"),
    "fetch-jars": (_fetch_jars, "bring the verified jars that Spark needs onto this machine, and end"),
}


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="retail-streaming", description="Real-time figures from the tills' topics.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, about) in _COMMANDS.items():
        commands.add_parser(name, help=about, description=about)
    about = "set aside the checkpoints of queries while the service is stopped, so that they read from the start"
    anew = commands.add_parser("begin-anew", help=about, description=about)
    anew.add_argument("queries", nargs="+", metavar="QUERY", help="its name, as in the log")
    about = "once they have read everything, delete the rows of their tables that the topics don't bring again"
    anew.add_argument("--forget", action="store_true", help=about)
    parsed = parser.parse_args(arguments)
    logs.configure()
    logs.quiet_libraries()
    try:
        if parsed.command == "begin-anew":
            _begin_anew(load_settings(), parsed.queries, forget=parsed.forget)
        else:
            _COMMANDS[parsed.command][0](load_settings())
    except SettingsError as error:
        sys.stderr.write(f"retail-streaming: {error}\n")
        return 2
    except StreamingError as error:
        sys.stderr.write(f"retail-streaming: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
