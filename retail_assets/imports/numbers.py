"""How a file writes numbers, and words for yes and no.

Belongs here: decimal comma or point, signs between thousands, words for "nothing". Does not belong here: which numbers
make sense (`checking`).
"""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

import polars as pl

from retail_assets.imports.conventions import COMMA, POINT
from retail_assets.imports.errors import ImportRefusedError

_EITHER_COMMA: Final = "either comma"
_EITHER_POINT: Final = "either point"

#: What stands for "not known" in exports of databases, spreadsheets and pandas.
_MISSING: Final = ("", "na", "n/a", "nan", "null", "none", "\\n", "-", "#n/a")
_YES: Final = ("true", "t", "yes", "y", "1", "1.0", "ja", "oui", "si", "sí")
_NO: Final = ("false", "f", "no", "n", "0", "0.0", "nein", "non")


def missing(texts: pl.Series) -> pl.Series:
    """Return which texts, stripped, say that there is no value."""
    # Only short texts can, and lower case takes a while.
    short = texts.str.len_bytes() <= max(map(len, _MISSING))
    return texts.is_null() | (short & texts.str.to_lowercase().is_in(_MISSING))


def infer_decimal_sign(texts: Iterable[str], file: str, *, points_group: bool = False) -> tuple[str, list[str]]:
    """Return the sign before the decimals, point or comma, and what the user should know of the choice.

    Args:
        texts: the different numbers of a file that have a comma or a point.
        file: the file's name, for errors.
        points_group: whether a point may stand between thousands where nothing else shows the decimal sign.

    Raises:
        ImportRefusedError: commas, or points, may be decimal or between thousands, and no number decides it.
    """
    votes: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for text in texts:
        vote = _vote(text.strip().lstrip("+-"))
        votes[vote] += 1
        examples.setdefault(vote, text)
    if votes[COMMA] and votes[POINT]:
        sign = COMMA if votes[COMMA] > votes[POINT] else POINT
        other = POINT if sign == COMMA else COMMA
        return sign, [
            (
                f"{file}: numbers are read with a decimal {_word(sign)}, but some are written with a {_word(other)} "
                f"(such as {examples[other]})"
            )
        ]
    if votes[COMMA] or votes[POINT]:
        return COMMA if votes[COMMA] else POINT, []
    for open_, sign in ((_EITHER_COMMA, COMMA), (_EITHER_POINT, POINT)):
        if votes[open_] and (sign == COMMA or points_group):
            raise ImportRefusedError(
                f"{file}: the {_word(sign)} in numbers such as {examples[open_]} can be decimal or stand between "
                "thousands: say which, with --decimal comma or --decimal point"
            )
    return POINT, []


def _vote(text: str) -> str:
    """Say which decimal sign a number shows: a point, a comma, either of both, or none."""
    comma, point = text.rfind(COMMA), text.rfind(POINT)
    if comma >= 0 and point >= 0:
        return COMMA if comma > point else POINT
    for sign, other in ((COMMA, POINT), (POINT, COMMA)):
        if sign in text:
            if text.count(sign) > 1:
                return other
            whole, _, rest = text.partition(sign)
            either = _EITHER_COMMA if sign == COMMA else _EITHER_POINT
            return either if re.fullmatch(r"[1-9]\d{0,2}", whole) and re.fullmatch(r"\d{3}", rest) else sign
    return "none"


def _word(sign: str) -> str:
    return "comma" if sign == COMMA else "point"


def read_numbers(values: pl.Series, decimal: str) -> tuple[pl.Series, pl.Series]:
    """Return the numbers of a column, null where there is none, and which values are wrong rather than missing.

    Args:
        values: texts or numbers.
        decimal: the sign before the decimals. The other sign is taken for one between thousands where it stands in
            front of three digits.
    """
    if values.dtype != pl.String:
        numbers = values.cast(pl.Float64).fill_nan(None)
        wrong = numbers.is_infinite().fill_null(value=False)
        return numbers.set(wrong, None), wrong
    texts = values.str.strip_chars()
    plain = texts if decimal == POINT else texts.str.replace(COMMA, POINT, literal=True)
    numbers = plain.cast(pl.Float64, strict=False)
    if decimal == COMMA:
        # A point was no decimal point here: what has one is looked at again below.
        numbers = numbers.set(texts.str.contains(POINT, literal=True).fill_null(value=False), None)
    numbers = numbers.set((~numbers.is_finite()).fill_null(value=False), None)
    unread = numbers.is_null()
    if not unread.any():
        return numbers, unread
    wrong = unread & ~missing(texts)
    if wrong.any():
        other = COMMA if decimal == POINT else POINT
        grouped = rf"^[+-]?\d{{1,3}}(?:{re.escape(other)}\d{{3}})+(?:{re.escape(decimal)}\d*)?$"
        found = texts.set(~wrong | ~texts.str.contains(grouped), None)
        repaired = found.str.replace_all(other, "", literal=True).str.replace(decimal, POINT, literal=True)
        numbers = numbers.zip_with(~wrong, repaired.cast(pl.Float64, strict=False))
        wrong = wrong & numbers.is_null()
    return numbers, wrong


def read_flags(values: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Return yes and no of a column, null where there is neither, and which values are wrong rather than missing."""
    if values.dtype == pl.Boolean:
        return values, pl.repeat(value=False, n=len(values), eager=True, dtype=pl.Boolean)
    if values.dtype != pl.String:
        numbers = values.cast(pl.Float64).fill_nan(None)
        flags = numbers.replace_strict([0.0, 1.0], [False, True], default=None, return_dtype=pl.Boolean)
        return flags, flags.is_null() & numbers.is_not_null()
    texts = values.str.strip_chars()
    words = dict.fromkeys(_YES, True) | dict.fromkeys(_NO, False)
    flags = texts.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Boolean)
    unread = flags.is_null()
    return flags, unread if not unread.any() else unread & ~missing(texts)
