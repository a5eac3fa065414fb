"""The commands of dead letters: `retail dead-letters list`, `show` and `replay`.

Belongs here: their arguments, and what they show. Does not belong here: reading letters and sending messages again
(`resources.letters`).
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from retail_assets.explained import explained
from retail_assets.settings import Settings, load_settings
from retail_assets.tenants import tenant_option

if TYPE_CHECKING:
    from retail_assets.resources.kafka import KafkaResource
    from retail_assets.resources.letters import Choice, DeadLetter, Replay

#: Bytes of a value that a line of the list shows.
_BEGINNING: Final = 60
#: Bytes in a line of a hex dump.
_HEX_BYTES: Final = 16
_MOMENT: Final = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])


class _Key(click.ParamType):  # type: ignore[type-arg]
    """A letter's key, as the list shows it."""

    name = "key"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from retail_assets.contracts.letters import letter_key

        try:
            return letter_key(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


_topic_option = click.option("--topic", metavar="TOPIC", help="Only letters about messages of this topic.")
_reason_option = click.option("--reason", metavar="TEXT", help="Only letters with this text in their reason.")


@click.group("dead-letters")
def dead_letters() -> None:
    """Messages that a contract refused: look at them, and send them again after a fix."""


@dead_letters.command("list")
@_topic_option
@_reason_option
@click.option("--since", type=_MOMENT, help="Only letters that were sent then or later, in UTC.")
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="Show so many letters.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else.")
@tenant_option
@explained
def list_letters(topic: str | None, reason: str | None, since: datetime | None, limit: int, as_json: bool) -> None:
    """Count the letters by topic and reason, and show the newest."""
    from retail_assets.resources.kafka import KafkaResource
    from retail_assets.resources.letters import read_letters

    kafka = KafkaResource.of(load_settings())
    moment = since.replace(tzinfo=UTC) if since else None
    letters = read_letters(kafka, _choice(kafka, topic, reason, moment), value_bytes=_BEGINNING)
    counts = Counter((letter.topic, letter.reason) for letter in letters)
    if as_json:
        report = {
            "counts": [{"topic": on, "reason": why, "letters": n} for (on, why), n in counts.most_common()],
            "letters": [_as_json(letter) for letter in letters[:limit]],
        }
        click.echo(json.dumps(report, indent=2))
        return
    for (on, why), count in counts.most_common():
        click.echo(f"{count:,} of {printable(on)}: {printable(why)}")
    for letter in letters[:limit]:
        beginning = printable(letter.value.decode(errors="backslashreplace"))
        click.echo(f"{printable(letter.key)}  {_time(letter)}  {printable(letter.reason)}  {beginning}")
    if len(letters) > limit:
        click.echo(f"… and {len(letters) - limit:,} more")
    if not letters:
        click.echo("no dead letters")


@dead_letters.command("show")
@click.argument("key", type=_Key())
@click.option(
    "--value",
    "target",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Write the message's bytes as they are, to a new file, or to standard output (-).",
)
@tenant_option
@explained
def show(key: str, target: Path | None) -> None:
    """Show the letter KEY: its headers and its value; as JSON or text where it is, as hex otherwise."""
    from retail_assets.resources.kafka import KafkaResource
    from retail_assets.resources.letters import letters_of

    if target is not None and str(target) != "-" and target.exists():
        raise click.BadParameter(f"{target} is there already, and is not overwritten", param_hint="--value")
    (letter,) = letters_of(KafkaResource.of(load_settings()), [key])
    if target is None:
        click.echo(f"sent {_time(letter)} UTC")
        for name, value in letter.headers:
            click.echo(f"{printable(name)}: {_line(value)}")
        click.echo()
        for line in lines_of(letter.value):
            click.echo(line)
    elif str(target) == "-":
        click.echo(letter.value, nl=False)
    else:
        try:
            with target.open("xb") as file:
                file.write(letter.value)
        except (FileExistsError, FileNotFoundError) as error:
            raise click.BadParameter(f"{target} can't be written: {error.strerror}", param_hint="--value") from None
        click.echo(f"{len(letter.value):,} bytes in {target}")


@dead_letters.command("replay")
@click.argument("keys", metavar="[KEY]...", nargs=-1, type=_Key())
@_topic_option
@_reason_option
@click.option("--all", "everything", is_flag=True, help="All letters.")
@click.option(
    "--value",
    "mended",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Send these bytes instead of the message's own; with one KEY.",
)
@click.option("--anyway", is_flag=True, help="Send also what today's contract would refuse again.")
@click.option("--dry-run", is_flag=True, help="Only say what would be sent.")
@tenant_option
@explained
def replay(
    keys: tuple[str, ...],
    topic: str | None,
    reason: str | None,
    everything: bool,
    mended: Path | None,
    anyway: bool,
    dry_run: bool,
) -> None:
    """Send messages again, to the topics that they came from, and take their letters off the list.

    What today's contract would refuse again is told and left; then the exit code is 1.
    """
    from retail_assets.resources.kafka import KafkaResource
    from retail_assets.resources.letters import judge, letters_of, read_letters, send_again

    filtered = topic is not None or reason is not None
    if bool(keys) + filtered + everything != 1:
        raise click.UsageError("say which letters: either KEY…, or --topic and --reason, or --all")
    value = _mended(keys, mended)
    settings = load_settings()
    kafka = KafkaResource.of(settings)
    letters = letters_of(kafka, keys) if keys else read_letters(kafka, _choice(kafka, topic, reason))
    if not letters:
        click.echo("no such dead letters: nothing is to be sent")
        return
    replays = judge(_spark(settings), kafka, letters, value)
    refused = [one for one in replays if one.rejection is not None]
    for one in refused:
        click.echo(f"{one.letter.key} would be refused again: {one.rejection}", err=True)
    chosen = [one for one in replays if anyway or one.rejection is None]
    for one in chosen:
        click.echo(f"{'would send' if dry_run else 'sending'} {_described(one)}")
    if not dry_run:
        send_again(kafka, chosen)
        click.echo(f"sent again: {len(chosen):,}")
    if len(chosen) < len(replays):
        left = len(replays) - len(chosen)
        click.echo(f"left as they are: {left:,}; mend the value (--value FILE), or send it --anyway", err=True)
        sys.exit(1)


def printable(text: str) -> str:
    """Return a text in one line, in which nothing moves the cursor of a terminal."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def lines_of(value: bytes) -> Iterator[str]:
    """Yield a value's lines as people read them: JSON indented, other text as it is, anything else as a hex dump."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        yield from _hex_dump(value)
        return
    try:
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        if any(not (one.isprintable() or one in "\t\r\n") for one in text):
            yield from _hex_dump(value)
            return
    for line in text.splitlines():
        yield printable(line.expandtabs())


def _hex_dump(value: bytes) -> Iterator[str]:
    for start in range(0, len(value), _HEX_BYTES):
        part = value[start : start + _HEX_BYTES]
        text = "".join(chr(one) if chr(one).isascii() and chr(one).isprintable() else "." for one in part)
        yield f"{start:08x}  {part.hex(' '):<{3 * _HEX_BYTES - 1}}  {text}"


def _line(value: bytes) -> str:
    try:
        return printable(value.decode())
    except UnicodeDecodeError:
        return f"{value.hex(' ')} (no text)"


def _time(letter: "DeadLetter") -> str:
    return f"{letter.at:%Y-%m-%d %H:%M:%S}"


def _as_json(letter: "DeadLetter") -> dict[str, str]:
    return {
        "key": letter.key,
        "at": letter.at.isoformat(timespec="milliseconds"),
        "topic": letter.topic,
        "reason": letter.reason,
        "value": letter.value.decode(errors="backslashreplace"),
    }


def _described(one: "Replay") -> str:
    key = "without a key" if one.key is None else f"under the key {_line(one.key)}"
    return f"{one.letter.key} to {one.letter.topic}, {len(one.value):,} bytes {key}"


def _choice(kafka: "KafkaResource", topic: str | None, reason: str | None, since: datetime | None = None) -> "Choice":
    from retail_assets.resources.letters import Choice
    from retail_assets.resources.repair import event_topic

    name = None if topic is None else kafka.name_of(event_topic(topic))
    return Choice(topic=name, reason=reason, since=since)


def _mended(keys: Sequence[str], path: Path | None) -> bytes | None:
    """Return the mended value, if there is one.

    Raises:
        click.BadParameter: it can't be read or is empty, or there is not exactly one letter that it is for.
    """
    if path is None:
        return None
    if len(keys) != 1:
        raise click.BadParameter("a mended value is for one letter: name its KEY", param_hint="--value")
    try:
        value = path.read_bytes()
    except OSError as error:
        raise click.BadParameter(f"{path} can't be read: {error.strerror}", param_hint="--value") from None
    if not value:
        raise click.BadParameter(f"{path} is empty", param_hint="--value")
    return value


def _spark(settings: Settings) -> Any:
    """Return a Spark session: the contracts' judgement exists there alone, so that all readers judge the same."""
    from retail_assets.resources.spark import SparkResource, spark_config

    quiet = {"spark.ui.showConsoleProgress": "false"}
    return SparkResource(spark_config=spark_config(settings) | quiet).spark_session
