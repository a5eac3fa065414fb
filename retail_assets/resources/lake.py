"""The lake: where its Delta tables lie, and what can be read of them without starting Spark.

Belongs here: addresses, and small reads of a table's log and of small tables by delta-rs. Large reads and all writes
of Spark frames go through the Spark IO manager.
"""

from datetime import date
from typing import Any
from urllib.parse import unquote, urlparse

import dagster as dg
import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import TableNotFoundError

from retail_assets.contracts.tables import Table
from retail_assets.contracts.types import arrow_schema
from retail_assets.settings import get_settings


class LakeResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The lake's root and the Delta tables below it.

    Attributes:
        root: `file:///…` or `s3a://bucket/prefix`.
    """

    root: str

    def uri(self, path: str) -> str:
        """Return the address of a table or folder as Spark reads it."""
        return f"{self.root}/{path}"

    def local_path(self, path: str) -> str:
        """Return the address as delta-rs and Polars read it: a plain path, or `s3://…`."""
        uri = self.uri(path)
        parts = urlparse(uri)
        return unquote(parts.path) if parts.scheme == "file" else uri.replace("s3a://", "s3://", 1)

    @property
    def storage_options(self) -> dict[str, str]:
        """How delta-rs and Polars sign in to the object store; empty for a folder."""
        return storage_options(self.root)

    def delta(self, table: Table) -> DeltaTable | None:
        """Open a table's log; None where the table was never written."""
        try:
            return DeltaTable(self.local_path(table.path), storage_options=self.storage_options)
        except TableNotFoundError:
            return None

    def read(self, table: Table, *, on: date | None = None, columns: list[str] | None = None) -> pl.DataFrame:
        """Read a small table, or one partition, as a Polars frame; empty where nothing was written yet.

        Args:
            table: which table.
            on: the one value of the table's partition column to read.
            columns: which columns; all by default.
        """
        wanted = columns or list(table.column_names)
        delta = self.delta(table)
        if delta is None:
            empty = pl.DataFrame(arrow_schema(table.columns).empty_table())
            return empty.select(wanted)
        filters: list[tuple[str, str, Any]] | None = None
        if on is not None:
            if table.partition_by is None:
                raise ValueError(f"{table.path} has no partitions")
            filters = [(table.partition_by, "=", on.isoformat())]
        return pl.DataFrame(delta.to_pyarrow_table(partitions=filters, columns=wanted))

    def overwrite(self, table: Table, frame: pl.DataFrame) -> None:
        """Replace a small table by a Polars frame, in one commit.

        Raises:
            ValueError: the frame doesn't fit the table's contract.
        """
        write_deltalake(
            self.local_path(table.path),
            contract_arrow(table, frame),
            mode="overwrite",
            partition_by=[table.partition_by] if table.partition_by else None,
            storage_options=self.storage_options,
        )


def storage_options(root: str) -> dict[str, str]:
    """Return delta-rs' sign-in to the object store that `root` lies in; empty for a folder.

    Without keys in the settings delta-rs looks for them where AWS puts them, such as a machine's role, as Spark does.
    """
    if not root.startswith("s3a://"):
        return {}
    settings = get_settings()
    options = {"AWS_REGION": settings.s3_region, "aws_conditional_put": "etag"}
    if settings.s3_access_key:
        options |= {
            "AWS_ACCESS_KEY_ID": settings.s3_access_key,
            "AWS_SECRET_ACCESS_KEY": settings.s3_secret_key.get_secret_value(),
        }
    if settings.s3_endpoint:
        options |= {
            "AWS_ENDPOINT_URL": settings.s3_endpoint,
            "AWS_ALLOW_HTTP": str(settings.s3_endpoint.startswith("http://")).lower(),
        }
    return options


def contract_arrow(table: Table, frame: pl.DataFrame) -> pa.Table:
    """Return a Polars frame as an Arrow table of exactly the contract's columns and types.

    Raises:
        ValueError: a column is missing, or a value doesn't fit its type.
    """
    missing = set(table.column_names) - set(frame.columns)
    if missing:
        raise ValueError(f"{table.path}: the frame lacks {', '.join(sorted(missing))}")
    return (
        frame.select(table.column_names)
        .to_arrow(compat_level=pl.CompatLevel.oldest())
        .cast(arrow_schema(table.columns))
    )
