"""Integer surrogate keys of the warehouse's dimensions.

Belongs here: giving ids stable numbers. Does not belong here: where the numbers are kept.
"""

from typing import Final

import polars as pl

#: The key of the row that stands for "unknown" in every dimension.
UNKNOWN_KEY: Final = 0


def assign_keys(existing: pl.DataFrame, ids: list[str], id_column: str, key_column: str) -> pl.DataFrame:
    """Return the keys of all ids seen so far, and new ones for new ids.

    An id keeps its key for good, so facts that were written before stay right; ids that are no longer in `ids` keep
    theirs too. New ids get the numbers after the greatest key, in sorted order, so that the same ids in any order
    give the same keys.

    Args:
        existing: id and key of earlier calls; may be empty, with or without columns. A row with `UNKNOWN_KEY` stays.
        ids: the ids of now; repeats and nulls are ignored.
        id_column: name of the id.
        key_column: name of the key.

    Returns:
        One row per id: id_column (String), key_column (Int64), sorted by key.

    Raises:
        ValueError: `existing` gives an id two keys, a key to two ids, or a negative key.
    """
    schema = pl.Schema({id_column: pl.String(), key_column: pl.Int64()})
    known = pl.DataFrame(schema=schema) if existing.width == 0 else existing.select(schema.names()).cast(schema)
    for column in (id_column, key_column):
        if known[column].is_duplicated().any():
            repeated = known.filter(pl.col(column).is_duplicated())[column][0]
            raise ValueError(f"{column} {repeated!r} stands twice among the existing keys")
    if (known[key_column] < UNKNOWN_KEY).any():
        raise ValueError(f"{key_column} has a negative key")
    seen = set(known[id_column])
    new = sorted({identifier for identifier in ids if identifier is not None} - seen)
    greatest = max([UNKNOWN_KEY, *known[key_column].to_list()])
    fresh = pl.DataFrame({id_column: new, key_column: range(greatest + 1, greatest + 1 + len(new))}, schema=schema)
    return pl.concat([known, fresh]).sort(key_column)
