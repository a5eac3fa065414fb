"""What the documents name exists: commands with their options, make targets, settings, files that are linked.

Nothing is run here; the README's Python is run by the tests of the demo.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from retail_assets.cli import main as retail
from retail_assets.reference_pages import PAGES
from retail_assets.settings import ENV_PREFIX, Settings
from retail_local.__main__ import main as retail_local
from retail_local.sweep import STACK_MARK
from retail_streaming.settings import StreamingSettings

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [ROOT / "README.md", *(path for part in ("docs", "spark", "infra") for path in (ROOT / part).rglob("*.md"))]
)
SHELLS = {"sh", "bash", "shell", "console"}
FENCED = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"(?:^ {4}\S.*\n)+", re.MULTILINE)
INLINE = re.compile(r"`(?P<code>[^`]+)`")
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
VARIABLE = re.compile(rf"{ENV_PREFIX}[A-Z0-9]+(?:_[A-Z0-9]+)*(?P<more>_…)?")
ASSIGNMENT = re.compile(r"[A-Z_]+=.*")
PLACEHOLDER = re.compile(r"[A-Z]+|…")


class Named(NamedTuple):
    """A command that a document names, without the program."""

    document: str
    words: tuple[str, ...]


def shown(command: Named) -> str:
    return f"{command.document}: {' '.join(command.words)}"


def simple_commands(code: str) -> Iterator[tuple[str, ...]]:
    """Return the words of each simple command of a shell text, without variables set in front of it."""
    text = re.sub(r"(^|[ \t])#.*$", "", code.replace("\\\n", " "), flags=re.MULTILINE)
    reader = shlex.shlex(text, posix=True, punctuation_chars=";&|()<>\n")
    reader.whitespace, reader.whitespace_split, reader.commenters = " \t", True, ""
    words: list[str] = []
    try:
        for token in [*reader, "\n"]:
            if token.strip(";&|()<>\n"):
                # Square brackets say that something may be left out.
                words += [token.strip("[]")] if words or not ASSIGNMENT.fullmatch(token) else []
            elif words:
                yield tuple(words)
                words = []
    except ValueError:
        # An apostrophe without its partner: a message or a name, no shell text.
        return


def codes(text: str) -> Iterator[str]:
    """Return a document's shell texts: fenced and indented blocks, and code within sentences."""
    for block in FENCED.finditer(text):
        if block["language"] in SHELLS:
            yield block["code"]
    prose = FENCED.sub("", text)
    for block in INDENTED.finditer(prose):
        yield block[0]
    for line in prose.splitlines():
        spans = [span["code"] for span in INLINE.finditer(line)]
        yield from spans
        if line.startswith("| `retail "):
            # The options that the rest of a table's row explains belong to the row's command.
            yield from (f"{spans[0]} {option}" for option in spans[1:] if option.startswith("-"))


def named(program: str) -> list[Named]:
    found = {
        Named(str(path.relative_to(ROOT)), words[1:])
        for path in DOCUMENTS
        for code in codes(path.read_text(encoding="utf-8"))
        for words in simple_commands(code)
        if Path(words[0]).name == program
    }
    return sorted(found)


def read(command: click.Command, words: tuple[str, ...]) -> None:
    """Read a command line as click does, without running it and without asking for what a document leaves out.

    Raises:
        click.UsageError: a command, an option or a value doesn't exist.
    """
    context = click.Context(command)
    values, rest, _ = command.make_parser(context).parse_args(list(words))
    for parameter in command.params:
        value = values.get(parameter.name or "")
        for word in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(word, str) and not PLACEHOLDER.fullmatch(word):
                parameter.type.convert(word, parameter, context)
    if isinstance(command, click.Group) and rest and rest[0] != "…":
        _, below, left = command.resolve_command(context, rest)
        assert below is not None
        read(below, tuple(left))
    elif rest and rest != ["…"]:
        raise click.UsageError(f"No such argument: {' '.join(rest)}")


RETAIL = named("retail")
MAKE = named("make")


@pytest.mark.parametrize("command", RETAIL, ids=shown)
def test_a_retail_command_in_a_document_exists_with_its_options(command: Named) -> None:
    read(retail, command.words)


@pytest.mark.parametrize("command", MAKE, ids=shown)
def test_a_make_target_in_a_document_exists(command: Named) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    asked = [word for word in command.words if not ASSIGNMENT.fullmatch(word)]
    assert set(asked) <= set(targets)


def test_every_command_is_in_a_document_and_the_search_finds_it() -> None:
    everything = {
        (name, *below)
        for name, command in retail.commands.items()
        for below in ([(one,) for one in command.commands] if isinstance(command, click.Group) else [()])
    }
    in_documents = {command.words[:count] for command in RETAIL for count in (1, 2)}
    assert everything <= in_documents
    assert {"setup", "demo", "test", "lint"} <= {word for command in MAKE for word in command.words}


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("fly", "No such command 'fly'"),
        ("jars fly", "No such command 'fly'"),
        ("down --hard", "No such option"),
        ("down kafka", "No such argument: kafka"),
        ("up kafka oracle", "'oracle' is not one of"),
        ("logs kafka warehouse", "No such argument: warehouse"),
        ("logs -n many", "'many' is not a valid integer"),
        ("logs -n", "requires an argument"),
    ],
)
def test_a_command_that_does_not_exist_would_be_found(words: str, wrong: str) -> None:
    with pytest.raises(click.UsageError) as error:
        read(retail, tuple(words.split()))
    assert wrong in error.value.format_message()


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("A=1 B=2 \\\n.venv/bin/retail up  # why\nmake test", [(".venv/bin/retail", "up"), ("make", "test")]),
        ("retail logs [SERVICE] [-n N]", [("retail", "logs", "SERVICE", "-n", "N")]),
        ("cd x && retail down; retail up", [("cd", "x"), ("retail", "down"), ("retail", "up")]),
    ],
)
def test_the_commands_of_a_shell_text_are_found(text: str, commands: list[tuple[str, ...]]) -> None:
    assert list(simple_commands(text)) == commands


def test_the_stack_has_the_same_commands_without_dagster() -> None:
    assert set(retail_local.commands) <= set(retail.commands)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_relative_link_leads_to_a_file(document: Path) -> None:
    prose = FENCED.sub("", document.read_text(encoding="utf-8"))
    targets = [link["target"].partition("#")[0] for link in LINK.finditer(prose)]
    relative = [target for target in targets if target and not re.match(r"[a-z]+:", target)]
    assert not [target for target in relative if not (document.parent / target).exists()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_variable_in_a_document_is_a_setting(document: Path) -> None:
    fields = {*Settings.model_fields, *StreamingSettings.model_fields}
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    # The mark of a stack's processes is no setting: people see it, the stack sets it.
    known = {
        STACK_MARK,
        *(ENV_PREFIX + field.upper() for field in fields),
        *re.findall(r"^#?(\w+)=", example, re.MULTILINE),
    }
    unknown = {
        variable[0]
        for variable in VARIABLE.finditer(document.read_text(encoding="utf-8"))
        if variable[0] not in known
        and not (variable["more"] and any(name.startswith(variable[0].removesuffix("…")) for name in known))
    }
    assert not unknown


@pytest.mark.parametrize("name", PAGES)
def test_a_page_that_follows_from_the_code_is_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == PAGES[name](), "run `make docs`"
