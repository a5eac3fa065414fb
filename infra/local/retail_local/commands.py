"""The commands of the local stack, to be registered in the `retail` command.

Belongs here: arguments, and how results are shown. What is done is in the other modules; each of their errors becomes
one line on standard error and exit code 1.
"""

import contextlib
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from retail_assets.settings import SettingsError, load_settings, unknown_variables
from retail_local import jars as jars_store
from retail_local import logs as log_reader
from retail_local.doctor import Finding, examine
from retail_local.errors import StackError
from retail_local.explain import one_line_errors
from retail_local.jars_lock import read_lock
from retail_local.services import SERVICES, default_services, find_service
from retail_local.stack import MIN_FREE_BYTES, ServiceStatus, Stack
from retail_local.supervision import log_file

_MINUTE: Final = 60
_HOUR: Final = 3600

_service_names = click.Choice(list(SERVICES))
_one_line_errors: Final = one_line_errors()


@click.command()
@click.argument("services", nargs=-1, type=_service_names)
@click.option("--no-dagster", is_flag=True, help="Leave Dagster out.")
@click.option("--with", "extra", multiple=True, type=_service_names, help="Start this service too, such as s3.")
@click.option(
    "--min-free-gb", type=click.FloatRange(min=0), default=MIN_FREE_BYTES / 1e9, show_default=True,
    help="Refuse to start with less room on the disk.",
)  # fmt: skip
@_one_line_errors
def up(services: tuple[str, ...], no_dagster: bool, extra: tuple[str, ...], min_free_gb: float) -> None:
    """Start the local stack and wait until every service is healthy. What runs already is left alone."""
    settings = load_settings()
    names = [*(services or default_services(settings)), *extra]
    if no_dagster:
        names = [name for name in names if name != "dagster"]
    begun = time.monotonic()
    stack = Stack(settings, int(min_free_gb * 1e9))
    stack.up(names, _say)
    click.secho(f"The stack is up ({time.monotonic() - begun:.1f} s).", fg="green")
    for status in stack.status(ask=False):
        if status.state == "running":
            click.echo(f"  {status.name:<10} 127.0.0.1:{status.ports[0]}")


@click.command()
@_one_line_errors
def down() -> None:
    """Stop everything that `retail up` began. Data, logs and secrets stay."""
    left_over = Stack(load_settings()).down(_say)
    more = f" {left_over} left-over processes were ended." if left_over else ""
    click.secho(f"The stack is down.{more}", fg="green")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_one_line_errors
def status(as_json: bool) -> None:
    """Show each service: state, process, uptime, port, health and log."""
    found = Stack(load_settings()).status()
    if as_json:
        click.echo(json.dumps([_plain(one) for one in found], indent=2))
        return
    row = "{:<10} {:<9} {:>7} {:>8} {:>6}  {:<34} {}"
    click.echo(row.format("SERVICE", "STATE", "PID", "UPTIME", "PORT", "HEALTH", "LOG"))
    for one in found:
        click.echo(
            row.format(
                one.name,
                one.state,
                one.pid or "-",
                _duration(one.uptime_seconds),
                one.ports[0],
                _health(one)[:34],
                one.log,
            )
        )


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Look over all that the stack needs. Each problem comes with its mend; exit code 1 if there is one."""
    try:
        unknown = [Finding("settings", ok=False, text=sentence) for sentence in unknown_variables()]
        known = load_settings()
        findings = [*(unknown or [Finding("settings", ok=True, text="all of them are right")]), *examine(known)]
    except SettingsError as error:
        findings = [Finding("settings", ok=False, text=line) for line in str(error).splitlines()]
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            mark = click.style("ok   ", fg="green") if finding.ok else click.style("WRONG", fg="red")
            click.echo(f"{mark} {finding.name}: {finding.text}")
    if not all(finding.ok for finding in findings):
        context.exit(1)


@click.command()
@click.argument("service", required=False, type=click.Choice([*SERVICES, "supervisor"]))
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until Ctrl-C.")
@click.option(
    "-n", "--lines", type=click.IntRange(min=0), default=50, show_default=True, help="How many lines to begin with."
)
@_one_line_errors
def logs(service: str | None, follow: bool, lines: int) -> None:
    """Show the last lines of a service's log, or of all of them."""
    settings = load_settings()
    names = [service] if service else [*SERVICES, "supervisor"]
    paths: dict[str, Path] = {name: log_file(settings, name) for name in names}
    if not any(path.is_file() for path in paths.values()):
        raise StackError(f"there is no log in {next(iter(paths.values())).parent} yet: run `retail up`")
    prefix = "{}" if service else "{:<10} | {}"
    for name, path in paths.items():
        for line in log_reader.last_lines(path, lines):
            click.echo(prefix.format(line) if service else prefix.format(name, line))
    if follow:
        with contextlib.suppress(KeyboardInterrupt):
            for name, line in log_reader.follow(paths):
                click.echo(prefix.format(line) if service else prefix.format(name, line))


@click.group()
def jars() -> None:
    """The Java libraries of the broker and of Spark, locked by checksum."""


_groups = click.option(
    "--group", "groups", multiple=True, help="Only this group; may be repeated.  [default: what is needed]"
)


@jars.command()
@_groups
@_one_line_errors
def fetch(groups: tuple[str, ...]) -> None:
    """Download the locked jars that are missing, and check each one. Right ones need no network."""
    begun = time.monotonic()
    done = jars_store.fetch(load_settings(), groups or None, on_progress=lambda text: click.echo(f"  {text}"))
    click.echo(
        f"{done.present + done.downloaded} jars are right ({done.downloaded} downloaded, "
        f"{done.bytes_downloaded / 1e6:.0f} MB, {time.monotonic() - begun:.1f} s)."
    )


@jars.command()
@_one_line_errors
def lock() -> None:
    """Resolve jars.toml with all that its libraries need, and write jars.lock."""
    written = jars_store.lock_jars(load_settings(), on_progress=lambda text: click.echo(f"  {text}"))
    for group in written.groups:
        members = written.of(group)
        click.echo(f"{group}: {len(members)} jars, {sum(jar.size for jar in members) / 1e6:.0f} MB")


@jars.command()
@_groups
@_one_line_errors
def verify(groups: tuple[str, ...]) -> None:
    """Hash every jar on this machine anew and compare it with the lock."""
    settings = load_settings()
    wrong = jars_store.verify(settings, groups or None)
    if wrong:
        raise StackError("\n".join([*map(str, wrong), "Run `retail jars fetch` to replace them."]))
    count = sum(len(read_lock().of(group)) for group in (groups or jars_store.default_groups()))
    click.echo(f"{count} jars are as locked.")


COMMANDS: Final[tuple[click.Command, ...]] = (up, down, status, doctor, logs, jars)


def register(group: click.Group) -> None:
    """Add every command of the local stack to `group`."""
    for command in COMMANDS:
        group.add_command(command)


def _say(service: str, text: str) -> None:
    click.echo(f"  {service:<10} {text}")


def _plain(one: ServiceStatus) -> dict[str, Any]:
    return {**asdict(one), "log": str(one.log), "about": find_service(one.name).about}


def _health(one: ServiceStatus) -> str:
    if one.healthy is None:
        return "-"
    return one.health if one.healthy else f"NOT HEALTHY: {one.health}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < _MINUTE:
        return f"{seconds:.0f}s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f}m"
    return f"{seconds / _HOUR:.1f}h"
