"""What a table's contract is, and the columns that identify rows everywhere.

Belongs here: the type `Table` and shared columns. Does not belong here: the tables (this package's other modules).
"""

from dataclasses import dataclass
from typing import Final

from retail_assets.contracts.types import DATE, STRING, Column


@dataclass(frozen=True)
class Table:
    """One table of the lake.

    Attributes:
        layer: `raw`, `reference`, `core`, `features`, `models`, `forecasts`, `inventory`.
        name: unique within the layer.
        grain: the columns that identify one row.
        columns: all columns, in order.
        description: what one row is, and who uses it.
        partition_by: physical partition column, if any; in a date-partitioned asset the asset's partition as well.
    """

    layer: str
    name: str
    grain: tuple[str, ...]
    columns: tuple[Column, ...]
    description: str
    partition_by: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The asset key, `(layer, name)`."""
        return (self.layer, self.name)

    @property
    def path(self) -> str:
        """Where the table lies below the lake's root."""
        return f"{self.layer}/{self.name}"

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """Return one column.

        Raises:
            KeyError: the table has no such column.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.path} has no column {name}")


STORE_ID: Final = Column("store_id", STRING, "Store.")
PRODUCT_ID: Final = Column("product_id", STRING, "Product.")
BUSINESS_DATE: Final = Column("business_date", DATE, "Date in the store's own time zone.")
