"""What the versioned DDL says of the warehouse's tables and views: columns, types, words, and what a view reads.

By its text, so that nothing has to run. Does not belong here: applying it (`migrations`).
"""

import re
from dataclasses import dataclass
from typing import Final

from retail_assets.contracts.origins import Origin
from retail_assets.resources.migrations import Migration, MigrationError, read_migrations

_COLUMN: Final = re.compile(r"^ +(\w+) +(.+?) +(?:DEFAULT \S+ +)?COMMENT '((?:[^']|'')*)'", re.MULTILINE)
#: Statements that change the columns of a table that an earlier migration made.
_ADDED: Final = re.compile(
    r"ADD COLUMN IF NOT EXISTS (\w+) +(.+?) +(?:DEFAULT \S+ +)?COMMENT '((?:[^']|'')*)'(?: AFTER (\w+))?"
)
_COMMENTED: Final = re.compile(r"COMMENT COLUMN (\w+) '((?:[^']|'')*)'")
_TABLE: Final = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)\n\(.*?\n\)\n[^;]*?COMMENT '((?:[^']|'')*)';", re.DOTALL)
_DROPPED: Final = re.compile(r"^DROP TABLE IF EXISTS (\w+)", re.MULTILINE)
_VIEW: Final = re.compile(r"^CREATE OR REPLACE VIEW (\w+) AS\n(.*)", re.DOTALL | re.MULTILINE)
_READ: Final = re.compile(r"\b(?:FROM|JOIN)\s+(\w+)")
_SELECT: Final = re.compile(r"SELECT\n(.*?)\n(FROM .*)", re.DOTALL)
#: `table AS t`, or a subquery of one table: some of its rows as they are.
_ALIAS: Final = re.compile(
    r"(?:FROM|JOIN)\s+(?:(\w+)|\(\s*SELECT\s[^()]*?\sFROM (\w+) FINAL(?:\s(?:[^()]|\([^()]*\))*)?\)) AS (\w+)"
)
_SHOWN: Final = re.compile(r"(.+) AS (\w+)")
_USED: Final = re.compile(r"\b([a-z])\.(\w+)")


@dataclass(frozen=True)
class View:
    """A view as the DDL states it.

    Attributes:
        tables: the tables and views that it reads.
        columns: by name, the tables' columns that each is made from; none for a query that isn't plain.
    """

    tables: tuple[str, ...]
    columns: dict[str, tuple[Origin, ...]]


def documented_columns(table: str, migrations: list[Migration] | None = None) -> list[tuple[str, str, str]]:
    """Return name, type and comment of a table's columns, as the DDL that creates and alters it states them.

    Raises:
        MigrationError: no migration creates the table.
    """
    columns: list[tuple[str, str, str]] = []
    for migration in migrations or read_migrations():
        body = re.search(rf"CREATE TABLE IF NOT EXISTS {table}\n\((.*?)\n\)\n", migration.sql, re.DOTALL)
        if body is not None:
            columns = _COLUMN.findall(body[1])
        for statement in migration.statements:
            if re.search(rf"^ALTER TABLE {table}\n", statement, re.MULTILINE):
                columns = _altered(columns, statement)
    if not columns:
        raise MigrationError(f"no migration creates {table}")
    return [(name, " ".join(kind.split()), comment.replace("''", "'")) for name, kind, comment in columns]


def _altered(columns: list[tuple[str, str, str]], statement: str) -> list[tuple[str, str, str]]:
    for name, kind, comment, before in _ADDED.findall(statement):
        names = [known for known, _, _ in columns]
        place = names.index(before) + 1 if before else len(names)
        columns = [*columns[:place], (name, kind, comment), *columns[place:]]
    comments = dict(_COMMENTED.findall(statement))
    return [(name, kind, comments.get(name, comment)) for name, kind, comment in columns]


def documented_tables(migrations: list[Migration] | None = None) -> dict[str, str]:
    """Return the comment of each table that wasn't dropped afterwards."""
    found: dict[str, str] = {}
    for migration in migrations or read_migrations():
        found |= {name: comment.replace("''", "'") for name, comment in _TABLE.findall(migration.sql)}
        for name in _DROPPED.findall(migration.sql):
            found.pop(name, None)
    return found


def documented_views(migrations: list[Migration] | None = None) -> dict[str, View]:
    """Return the views by name, each as the last migration that states it does."""
    views: dict[str, View] = {}
    for migration in migrations or read_migrations():
        for statement in migration.statements:
            stated = _VIEW.search(statement)
            if stated is not None:
                name, query = stated.groups()
                views[name] = View(tuple(dict.fromkeys(_READ.findall(query))), _shown(query))
    return views


def _shown(query: str) -> dict[str, tuple[Origin, ...]]:
    """Return the columns of a plain query over tables with aliases."""
    parts = _SELECT.fullmatch(query)
    if parts is None:
        return {}
    tables = {alias: table or inner for table, inner, alias in _ALIAS.findall(parts[2])}
    columns = {}
    for expression in _separated(parts[1]):
        column = _SHOWN.fullmatch(expression)
        if column is not None:
            used = (Origin(tables[alias], field) for alias, field in _USED.findall(column[1]) if alias in tables)
            columns[column[2]] = tuple(dict.fromkeys(used))
    return columns


def _separated(shown: str) -> list[str]:
    """Return the expressions of a select list: what commas outside of parentheses part."""
    depth, expressions = 0, [""]
    for letter in " ".join(shown.split()):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            expressions.append("")
        else:
            expressions[-1] += letter
    return [expression.strip() for expression in expressions]
