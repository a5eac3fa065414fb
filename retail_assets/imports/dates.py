"""How a file writes dates: one format per file, inferred from all its rows.

Belongs here: formats of dates, and choosing one. Does not belong here: reading rows (`checking`).

A file has few different dates however many rows it has, so everything here works on the different texts.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from retail_assets.imports.errors import ImportRefusedError

EARLIEST: Final = date(1990, 1, 1)

NO_DATE: Final = "no date"
OTHER_FORMAT: Final = "written in another format than the rest"
TIME_OF_DAY: Final = "has a time of day, where a row should be a whole day"
TOO_EARLY: Final = f"before {EARLIEST.year}"
FUTURE: Final = "in the future"

_TIME: Final = re.compile(
    r"(?P<date>.*?\d)(?:[T ]\s*(?P<time>\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?)\s*(?:[A-Z]{1,5}|[+-]\d\d:?\d\d)?)?"
)
_MIDNIGHT: Final = re.compile(r"0?0:00(:00(\.0+)?)?")


@dataclass(frozen=True)
class DateFormat:
    """One way to write a date.

    Attributes:
        name: as people say it, such as `dd/mm/yyyy`.
        pattern: for `datetime.strptime`.
        shape: what a text must look like; None where the pattern alone decides.
    """

    name: str
    pattern: str
    shape: re.Pattern[str] | None = None

    def read(self, text: str) -> tuple[date | None, str | None]:
        """Return the date that a text says, or why it says none in this format."""
        stripped = text.strip()
        if self.shape is None:
            return self._parse(stripped, None)
        parts = _TIME.fullmatch(stripped)
        if parts is None or self.shape.fullmatch(parts["date"]) is None:
            return None, NO_DATE
        return self._parse(parts["date"], parts["time"])

    def _parse(self, text: str, time: str | None) -> tuple[date | None, str | None]:
        try:
            moment = datetime.strptime(text, self.pattern)  # noqa: DTZ007 - business dates have no zone
        except ValueError:
            return None, NO_DATE
        at_midnight = moment.time() == datetime.min.time() and (time is None or _MIDNIGHT.fullmatch(time) is not None)
        return moment.date(), None if at_midnight else TIME_OF_DAY


def _numeric(name: str, pattern: str) -> DateFormat:
    digits = {"yyyy": r"\d{4}", "mm": r"\d{1,2}", "dd": r"\d{1,2}"}
    shape = re.sub("yyyy|mm|dd", lambda part: digits[part[0]], re.escape(name))
    return DateFormat(name, pattern, re.compile(shape))


FORMATS: Final = (
    _numeric("yyyy-mm-dd", "%Y-%m-%d"),
    _numeric("yyyy/mm/dd", "%Y/%m/%d"),
    _numeric("yyyy.mm.dd", "%Y.%m.%d"),
    DateFormat("yyyymmdd", "%Y%m%d", re.compile(r"\d{8}")),
    _numeric("dd/mm/yyyy", "%d/%m/%Y"),
    _numeric("mm/dd/yyyy", "%m/%d/%Y"),
    _numeric("dd.mm.yyyy", "%d.%m.%Y"),
    _numeric("dd-mm-yyyy", "%d-%m-%Y"),
    _numeric("mm-dd-yyyy", "%m-%d-%Y"),
)


def named_format(text: str) -> DateFormat:
    """Return the format that a user names: `dd/mm/yyyy` and the like, or a pattern such as `%d.%m.%y`.

    Raises:
        ImportRefusedError: it is neither.
    """
    for known in FORMATS:
        if text.strip().lower() == known.name:
            return known
    if all(sign in text for sign in ("%d", "%m")) and ("%Y" in text or "%y" in text):
        return DateFormat(text, text)
    names = ", ".join(known.name for known in FORMATS)
    raise ImportRefusedError(f"--date-format {text} should be one of {names}, or a pattern such as %d.%m.%y")


def infer_format(counts: Mapping[str, int], file: str) -> tuple[DateFormat, list[str]]:
    """Return the format in which most rows of a file can be read, and what the user should know of the choice.

    Args:
        counts: rows by the text of their date.
        file: the file's name, for errors.

    Raises:
        ImportRefusedError: no format reads any row, or two read as many rows as each other: others, or the same
            differently.
    """
    texts = {text: count for text, count in counts.items() if text.strip()}
    readings = {form: {text: form.read(text)[0] for text in texts} for form in FORMATS}
    readable = {form: {text for text, day in reading.items() if day is not None} for form, reading in readings.items()}
    rows = {form: sum(texts[text] for text in found) for form, found in readable.items()}
    best = max(FORMATS, key=lambda form: rows[form])
    if not rows[best]:
        example = next(iter(texts), "")
        raise ImportRefusedError(
            f"{file}: no date is in a format that is known (the first is {example!r}): say it, such as "
            "--date-format %d.%m.%y"
        )
    rivals = [form for form in FORMATS if form is not best and rows[form] == rows[best]]
    if any(readable[rival] != readable[best] for rival in rivals):
        raise ImportRefusedError(_mixed([best, *rivals], readable, texts, file))
    for rival in rivals:
        differing = [text for text in readable[best] if readings[best][text] != readings[rival][text]]
        if differing:
            raise ImportRefusedError(
                f"{file}: dates such as {min(differing)} can be {best.name} or {rival.name}, and no row decides it: "
                f"say which, with --date-format {best.name} or --date-format {rival.name}"
            )
    notes = []
    for rival in FORMATS:
        only_rival = readable[rival] - readable[best]
        # Of dd/mm and mm/dd the same text can be both: a rival that has rows of its own casts doubt on the others.
        if only_rival and readable[rival] & readable[best]:
            count = sum(texts[text] for text in only_rival)
            notes.append(
                f"{file}: dates are read as {best.name}, but {count:,} rows only make sense as {rival.name} "
                f"(such as {min(only_rival)}); if the file mixes both, other rows may be read wrongly"
            )
    return best, notes


def _mixed(
    forms: Sequence[DateFormat], readable: Mapping[DateFormat, set[str]], counts: Mapping[str, int], file: str
) -> str:
    """Return what to say of a file of which several formats read as many rows, and not the same ones."""
    alike: dict[frozenset[str], list[str]] = {}
    for form in forms:
        alike.setdefault(frozenset(readable[form]), []).append(form.name)
    parts = []
    for found, names in alike.items():
        own = found.difference(*(others for others in alike if others is not found))
        shown = f" (such as {min(own)})" if own else ""
        parts.append(f"{sum(counts[text] for text in own):,} rows only make sense as {' or '.join(names)}{shown}")
    return (
        f"{file} mixes formats of dates: {', '.join(parts)}. Write all dates in one format; or take the rows of one "
        f"alone, such as with --date-format {forms[0].name}, which rejects the others, and a greater --max-rejected"
    )


def read_dates(counts: Mapping[str, int], form: DateFormat, today: date) -> dict[str, tuple[date | None, str | None]]:
    """Return, for each text, its date, or the reason for which rows with it are rejected; both None if it is blank.

    Args:
        counts: rows by the text of their date.
        form: the file's format.
        today: the last date that can have happened.
    """
    found: dict[str, tuple[date | None, str | None]] = {}
    for text in counts:
        if not text.strip():
            found[text] = (None, None)
            continue
        day, reason = form.read(text)
        if reason is None and day is not None and day < EARLIEST:
            reason = TOO_EARLY
        elif reason is None and day is not None and day > today:
            reason = FUTURE
        elif reason == NO_DATE and any(other.read(text)[0] is not None for other in FORMATS if other != form):
            reason = OTHER_FORMAT
        found[text] = (None, reason) if reason is not None else (day, None)
    return found
