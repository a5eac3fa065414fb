"""The warehouse: clients over ClickHouse's HTTP interface, the same for the local gateway and for a server.

Belongs here: connecting, naming the writer in the server's query log, and retrying what is known to pass. Does not
belong here: how a table is replaced (the IO manager) and the schema (`migrations` and the DDL).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import clickhouse_connect
import dagster as dg
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError

from retail_assets.contracts.warehouse_errors import failed_on_the_way
from retail_assets.settings import Settings, get_settings


class WarehouseError(Exception):
    """The warehouse is away or refuses. The message says what to do."""


def connect(settings: Settings, *, user: str | None = None, database: str | None = None, comment: str = "") -> Client:
    """Open a client.

    Args:
        settings: where the warehouse is.
        user: who signs in; the writer by default.
        database: default database; the platform's own by default, "" for none.
        comment: shown in the server's `system.query_log` as `log_comment`.

    Raises:
        WarehouseError: nobody answers, or the sign-in is refused.
        SettingsError: no password is known for the user.
    """
    user = user or settings.clickhouse_user
    try:
        return clickhouse_connect.get_client(
            host=settings.clickhouse_host,
            port=settings.clickhouse_port,
            username=user,
            password=settings.password_of(user),
            database=settings.database if database is None else database or None,
            # Sessions would serialise the queries of one client; nothing here keeps state between queries.
            autogenerate_session_id=False,
            settings={"log_comment": comment} if comment else None,
        )
    except (ClickHouseError, OSError) as error:
        raise WarehouseError(
            f"the warehouse at {settings.clickhouse_host}:{settings.clickhouse_port} doesn't let {user} in: "
            f"{str(error).splitlines()[0]}. Run `retail status`; start it with `retail up`, or check "
            "RETAIL_CLICKHOUSE_HOST, RETAIL_CLICKHOUSE_PORT and the password"
        ) from error


def passes(error: Exception) -> bool:
    """Return whether an error is known to pass by itself: the warehouse, or what stands before it, is away."""
    return isinstance(error, WarehouseError | OperationalError) or failed_on_the_way(error)


class ClickHouseResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Clients of the warehouse for one run.

    Attributes:
        database: the star schema's database.
    """

    database: str

    @property
    def staging_database(self) -> str:
        """Where batch writes are built, out of sight of readers."""
        return f"{self.database}_staging"

    @contextmanager
    def client(self, comment: str = "") -> Iterator[Client]:
        """Open a client for the length of a `with` block."""
        client = connect(get_settings(), database=self.database, comment=comment)
        try:
            yield client
        finally:
            client.close()


__all__ = ["ClickHouseError", "ClickHouseResource", "WarehouseError", "connect", "passes"]
