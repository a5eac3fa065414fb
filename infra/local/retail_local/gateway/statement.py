"""What a statement is, according to the engine's own parser.

Belongs here: asking the engine for the canonical text and the syntax tree of a statement, finding where inserted data
begins, and adding a result file to a query. The gateway has no SQL parser of its own, so it can't disagree with the
engine about what a text means. Does not belong here: judging what the statement may do (`policy`).
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from retail_local.gateway import errors
from retail_local.gateway.errors import GatewayError

Tree = dict[str, Any]

# Anchored, because what follows in the message can be text of the statement itself.
_NO_TREE: Final = re.compile(r"\AAST node of type '([A-Za-z]+)[^']*' does not support JSON serialization")
_INSERT: Final = re.compile(rb"\A(?:\s|--[^\n]*\n|#!?\s[^\n]*\n|/\*.*?\*/)*INSERT\b", re.IGNORECASE | re.DOTALL)
_DATA_STARTS: Final = re.compile(rb"\bVALUES\b|\bFORMAT\s+`?\w+`?", re.IGNORECASE)
_DATA_GAP: Final = re.compile(rb"[ \t\f\v]*\r?\n?")
_FORMAT_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_TRAILING_FORMAT: Final = re.compile(r"\nFORMAT `?(\w+)`?(?:\nSETTINGS [^\n]*)?\s*\Z")
_INSERT_FORMAT: Final = re.compile(r"\s+FORMAT\s+`?(\w+)`?\s*\Z")
_MAX_CANDIDATES: Final = 64


class Asker(Protocol):
    """Something that answers one SQL question with one row, such as an engine connection."""

    def row(self, question: str, **values: str) -> list[str]:
        """Return the columns of a one-row answer, all of them texts."""
        ...


@dataclass(frozen=True)
class Statement:
    """One parsed statement.

    Attributes:
        text: the statement as it was sent.
        canonical: the engine's own rendering of it: no comments, one spelling.
        kind: the type of the syntax tree's root, such as `SelectWithUnionQuery`.
        tree: the syntax tree, or None for the few kinds that the engine does not give one for.
        format: the format that the statement itself names.
    """

    text: str
    canonical: str
    kind: str
    tree: Tree | None = field(repr=False)
    format: str | None

    @property
    def is_select(self) -> bool:
        """Whether it is a query with a result of any size."""
        return self.kind == "SelectWithUnionQuery"

    @property
    def takes_data(self) -> bool:
        """Whether it is an insertion whose rows come with the request."""
        return self.kind == "InsertQuery" and self.tree is not None and not {"select", "infile"} & self.tree.keys()


def parse(asker: Asker, text: str) -> Statement:
    """Parse one statement.

    Raises:
        GatewayError: syntax error, several statements, or no statement.
    """
    if not text.strip():
        raise GatewayError(errors.SYNTAX_ERROR, "Empty query")
    quoted = _escaped(text)
    tree: Tree | None
    try:
        canonical, encoded = asker.row("SELECT formatQuery({q:String}), parseQueryToJSON({q:String})", q=quoted)
        tree = json.loads(encoded)
    except GatewayError as error:
        unsupported = _NO_TREE.match(error.text)
        if not unsupported or error.code != errors.BAD_ARGUMENTS[0]:
            raise
        canonical = asker.row("SELECT formatQuery({q:String})", q=quoted)[0]
        return Statement(text, canonical.strip(), unsupported.group(1), None, _named_format(canonical))
    assert tree is not None  # noqa: S101 - narrows the type; the engine never answers "null" here
    kind = str(tree.get("type", ""))
    if kind == "InsertQuery":
        named = tree.get("format")
    else:
        named = (tree.get("format_ast") or {}).get("name") or _named_format(canonical)
    return Statement(text, canonical.strip(), kind, tree, named)


def starts_insert(head: bytes) -> bool:
    """Whether a text begins as an insertion, after comments. Only a hint where to look for data, never a judgement."""
    return _INSERT.match(head) is not None


def split_insert(asker: Asker, head: bytes) -> tuple[Statement, int] | None:
    """Find where the statement of an `INSERT … VALUES` or `INSERT … FORMAT` ends and its data begins.

    Each place that looks like the end is shown to the engine, and the first that it accepts counts. So a keyword inside
    a quoted name or a comment misleads nobody.

    Args:
        asker: parses the candidates.
        head: the beginning of the request, which need not be text where the data begins.

    Returns:
        The statement and the offset of the data in `head`, or None if it carries no data.

    Raises:
        GatewayError: what the engine says when it is an insertion with data but wrong.
    """
    for found in list(_DATA_STARTS.finditer(head))[:_MAX_CANDIDATES]:
        try:
            statement = parse(asker, head[: found.end()].decode())
        except (GatewayError, UnicodeDecodeError):
            continue
        if statement.takes_data and statement.format:
            gap = _DATA_GAP.match(head, found.end())
            return statement, gap.end() if gap else found.end()
    return None


def insert_target(statement: Statement) -> str:
    """Return the canonical text of an insertion without its format, as the engine's streaming insert wants it."""
    return _INSERT_FORMAT.sub("", statement.canonical)


def with_result_file(asker: Asker, statement: Statement, result_file: Path, result_format: str) -> Statement | None:
    """Return the query with its result going into `result_file`, or None if the text can't be changed safely.

    The canonical text is changed at its end and parsed again: apart from file and format, its tree must be the very
    tree of the statement that was judged.

    Raises:
        GatewayError: the format's name can't be one.
    """
    check_format_name(result_format)
    canonical = statement.canonical
    cut = canonical.rfind("\nFORMAT ") if statement.format else -1
    head, tail = (canonical[:cut], canonical[cut:]) if cut >= 0 else (canonical, "")
    settings = tail.find("\nSETTINGS ")
    path = str(result_file).replace("\\", "\\\\").replace("'", "\\'")
    text = f"{head}\nINTO OUTFILE '{path}'\nFORMAT `{result_format}`{tail[settings:] if settings >= 0 else ''}"
    try:
        changed = parse(asker, text)
    except GatewayError:
        return None
    if statement.tree is None or changed.tree is None:
        return None
    file_node = changed.tree.get("out_file")
    if not isinstance(file_node, dict) or file_node.get("value", {}).get("value") != str(result_file):
        return None
    mine = {"out_file", "format_ast"}
    same = {k: v for k, v in statement.tree.items() if k not in mine} == {
        k: v for k, v in changed.tree.items() if k not in mine
    }
    return changed if same and changed.format == result_format else None


def check_format_name(name: str) -> None:
    """Raise if `name` can't be the name of a format.

    Raises:
        GatewayError: it has other characters than a name.
    """
    if not _FORMAT_NAME.match(name):
        raise GatewayError(errors.UNKNOWN_FORMAT, f"Unknown format {name!r}.")


def nodes(tree: Any, key: str = "") -> Iterator[tuple[str, Tree]]:
    """Yield every node of a tree with the key under which its parent holds it (lists hand down theirs)."""
    if isinstance(tree, dict):
        yield key, tree
        for name, value in tree.items():
            yield from nodes(value, name)
    elif isinstance(tree, list):
        for value in tree:
            yield from nodes(value, key)


def _named_format(canonical: str) -> str | None:
    found = _TRAILING_FORMAT.search(canonical)
    return found.group(1) if found else None


def _escaped(text: str) -> str:
    """Write a text as ClickHouse reads the value of a query parameter."""
    table = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0", "\b": "\\b", "\f": "\\f"}
    return "".join(table.get(char, char) for char in text)
