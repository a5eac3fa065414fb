"""Applies the warehouse's versioned DDL: each file of `infra/clickhouse/ddl` once, in order.

Does not belong here: the DDL itself. A file that was applied must not change afterwards; write a new one.
"""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from retail_assets.paths import infra_dir

_FILE_NAME: Final = re.compile(r"^(\d{4})_([a-z0-9_]+)\.sql$")
_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    version     UInt32   COMMENT 'Number of the migration',
    name        String   COMMENT 'Name of the migration',
    sha256      String   COMMENT 'Hash of its file when it was applied',
    applied_at  DateTime DEFAULT now() COMMENT 'When it was applied, UTC'
)
ENGINE = ReplacingMergeTree(applied_at)
ORDER BY version
COMMENT 'Which versions of the DDL this database has'
"""


class MigrationError(Exception):
    """A migration can't be applied. The message names the file and says what to do."""


@dataclass(frozen=True)
class Migration:
    """One file of DDL."""

    version: int
    name: str
    sql: str = field(repr=False)

    @property
    def sha256(self) -> str:
        """Hash of the file's text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def statements(self) -> list[str]:
        """The statements, in order: they end with a semicolon at the end of a line."""
        return [part.strip() for part in re.split(r";\s*$", self.sql, flags=re.MULTILINE) if _has_code(part)]


def _has_code(part: str) -> bool:
    return any(line.strip() and not line.strip().startswith("--") for line in part.splitlines())


def read_migrations(folder: Path | None = None) -> list[Migration]:
    """Read the DDL files, by version.

    Raises:
        MigrationError: a file's name is wrong, or two files have one version.
    """
    folder = folder or infra_dir() / "clickhouse" / "ddl"
    migrations: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE_NAME.match(path.name)
        if match is None:
            raise MigrationError(f"{path}: a migration's name must look like 0001_what_it_does.sql")
        migrations.append(Migration(int(match[1]), match[2], path.read_text(encoding="utf-8")))
    versions = [migration.version for migration in migrations]
    if versions != list(range(1, len(versions) + 1)):
        raise MigrationError(f"{folder}: versions must be 1, 2, 3 … without gap or repeat, found {versions}")
    return migrations


def migrate(client: Client, database: str, migrations: list[Migration] | None = None) -> list[Migration]:
    """Bring the database to the newest version.

    A migration is recorded after its last statement. Every statement must bear repetition (`IF NOT EXISTS`,
    `OR REPLACE`), since ClickHouse has no transaction around DDL: one that was cut short is applied again whole.

    Args:
        client: signed in as the writer, with no default database.
        database: which database; made where it doesn't exist.
        migrations: what to apply; the project's own by default.

    Returns:
        The migrations that were applied now.

    Raises:
        MigrationError: an applied file has changed since, the database is newer than this code, or a statement fails.
    """
    migrations = read_migrations() if migrations is None else migrations
    for name in (database, f"{database}_staging"):
        client.command(f"CREATE DATABASE IF NOT EXISTS {name}")
    client.database = database
    client.command(_LEDGER)
    rows = client.query("SELECT version, name, sha256 FROM schema_migrations FINAL ORDER BY version").result_rows
    applied = {int(version): (str(name), str(sha256)) for version, name, sha256 in rows}
    newest = migrations[-1].version if migrations else 0
    if applied and max(applied) > newest:
        raise MigrationError(
            f"database {database} is at version {max(applied)}, this code knows only {newest}: update the code"
        )
    done: list[Migration] = []
    for migration in migrations:
        label = f"{migration.version:04d}_{migration.name}.sql"
        if migration.version in applied:
            if applied[migration.version][1] != migration.sha256:
                raise MigrationError(
                    f"{label} has changed since it was applied to {database}: restore it, and add a new file"
                )
            continue
        for statement in migration.statements:
            try:
                client.command(statement)
            except ClickHouseError as error:
                raise MigrationError(f"{label}: {str(error).splitlines()[0]}") from error
        client.insert(
            "schema_migrations",
            [[migration.version, migration.name, migration.sha256]],
            column_names=["version", "name", "sha256"],
        )
        done.append(migration)
    return done
