"""Ids and exact numbers for millions of rows: written into Arrow's memory, without a Python object for each.

Belongs here: making columns from numpy arrays. Does not belong here: which columns an event has (`events`).
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from retail_assets.contracts.types import DecimalType, arrow_type
from retail_assets.simulator.runs import Whole

Texts = npt.NDArray[np.bytes_]

_GROUP: Final = 1_000
_NULL: Final = pl.Series([None], dtype=pl.String)
_THREE_DIGITS: Final = np.array([f"{number:03d}" for number in range(_GROUP)], dtype="S3")


def picked(names: pl.Series, rows: Whole) -> pl.Series:
    """Return the names of rows, counted from 0."""
    # By the bracket rather than by `gather`, which goes through a query plan: slow for the many short ones.
    found = names[rows.astype(np.uint32)]
    assert isinstance(found, pl.Series)  # noqa: S101 - as many as there are rows
    return found


def picked_or_null(names: pl.Series, rows: Whole) -> pl.Series:
    """Return the names of rows; null for the row -1."""
    return picked(names.clone().append(_NULL), np.where(rows < 0, names.len(), rows))


def joined_texts(before: Texts, between: str, after: Texts) -> Texts:
    """Return each of `before` with each of `after`, in that order, as texts of one width."""
    return np.array([f"{b.decode()}{between}{a.decode()}".encode() for b in before for a in after])


def texts(values: pl.Series) -> Texts:
    """Return texts as an array of bytes.

    Raises:
        ValueError: they are of different lengths.
    """
    found = np.array([value.encode() for value in values])
    if found.size and np.char.str_len(found).min() < found.dtype.itemsize:
        raise ValueError(f"ids should all be of one length, unlike those from {values[0]} to {values[-1]}")
    return found


def numbered(prefix: Texts, which: Whole, number: Whole, digits: int) -> pl.Series:
    """Return texts made of a prefix and a number with leading zeros.

    Args:
        prefix: the prefixes, all of one length.
        which: the prefix of each text.
        number: the number of each text, below 10 ** digits.
        digits: 3 or 6.
    """
    width = prefix.dtype.itemsize
    groups = digits // 3
    parts = np.empty(which.size, dtype=[("prefix", prefix.dtype), *((f"group{g}", "S3") for g in range(groups))])
    parts["prefix"] = prefix[which]
    rest = number
    for group in reversed(range(groups)):
        parts[f"group{group}"] = _THREE_DIGITS[rest % _GROUP]
        rest = rest // _GROUP
    return fixed_width(parts, width + digits)


def fixed_width(values: npt.NDArray[Any], width: int) -> pl.Series:
    """Return texts that lie behind each other in an array's memory, each of `width` ASCII characters."""
    offsets = pa.py_buffer(np.arange(0, (values.size + 1) * width, width, dtype=np.int64))
    array = pa.LargeStringArray.from_buffers(values.size, offsets, pa.py_buffer(values))
    return pl.Series(pl.from_arrow(array))


def exact(scaled: Whole, decimal_type: DecimalType) -> pl.Series:
    """Return whole numbers of a type's smallest step as exact decimals, such as cents as money."""
    return pl.Series(pl.from_arrow(decimals(scaled, decimal_type)))


def decimals(scaled: Whole, decimal_type: DecimalType) -> pa.Array:
    """Return whole numbers of a type's smallest step as an Arrow array of decimals."""
    # Written as 128-bit numbers: a detour over floats would not be exact, one over Python's decimals a hundred times
    # slower.
    words = np.empty((scaled.size, 2), dtype="<i8")
    words[:, 0] = scaled
    words[:, 1] = words[:, 0] >> 63
    return pa.Array.from_buffers(arrow_type(decimal_type), scaled.size, [None, pa.py_buffer(words)])
