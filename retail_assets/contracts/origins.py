"""Where a column comes from.

Belongs here: the type `Origin`. Does not belong here: which column comes from which (`contracts.lineage`, and for
features their dictionary).
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """A column whose values go into another column, or decide on them.

    Keys that rows are joined by, and dates that windows are counted by, are origins only where they are the value.

    Attributes:
        table: `layer/name`, as the asset's key.
        column: one of the table's.
    """

    table: str
    column: str


#: The origins of a table's columns, by column. Empty where a value begins with the table itself.
Lineage = Mapping[str, tuple[Origin, ...]]


def of(table: str, *columns: str) -> tuple[Origin, ...]:
    """Return columns of a table as origins."""
    return tuple(Origin(table, column) for column in columns)
