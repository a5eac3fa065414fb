"""Products, stores and events as a retailer gives them: small files that must be right as a whole.

Belongs here: reading and checking them. Does not belong here: what fills their gaps (`reference`).

A wrong row of sales is one of millions; a wrong row here would colour everything that is said of a product. So one is
an error that says where it is, and nothing is left out silently.
"""

from typing import Final

import polars as pl

from retail_assets.imports.checking import Rejections, Understanding, checked_batches
from retail_assets.imports.errors import ImportRefusedError
from retail_assets.imports.reading import ROW

_SHOWN: Final = 5


def read_master(understanding: Understanding) -> pl.DataFrame:
    """Return the rows of a file of products, stores or events, each key once, in the lake's columns.

    Args:
        understanding: of the file.

    Raises:
        ImportRefusedError: rows are wrong, or two of the same key say different things.
    """
    file = understanding.file
    rejections = Rejections()
    batches = list(checked_batches(0, understanding, rejections))
    problems = [f"{', '.join(rejections.examples[reason])}: {reason}" for reason in rejections.counts]
    problems += [
        f"{file.name} line {line.line:,}: {line.fields} fields, where the first line has another number"
        for line in file.broken[:_SHOWN]
    ]
    rows = pl.concat(batches) if batches else pl.DataFrame()
    columns = [name for name in rows.columns if name != ROW]
    key = [file.kind.field(name).column for name in file.kind.key if name in file.columns]
    once = rows.unique(columns, keep="first", maintain_order=True)
    for group in once.filter(pl.struct(key).is_duplicated()).partition_by(key, maintain_order=True)[:_SHOWN]:
        named = ", ".join(str(value) for value in group.select(key).row(0))
        places = " and ".join(f"{row:,}" for row in group[ROW].to_list()[:2])
        problems.append(f"{file.name} lines {places}: {named} is there twice, with different values")
    if problems:
        more = f" (and {len(problems) - _SHOWN} more kinds of problem)" if len(problems) > _SHOWN else ""
        raise ImportRefusedError(
            f"{file.name} must be right as a whole; nothing was imported. " + "; ".join(problems[:_SHOWN]) + more
        )
    return once.select(columns)


def empty(*columns: str) -> pl.DataFrame:
    """Return what a file that isn't there says."""
    return pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
