"""What a field of a scenario may hold, stated beside the field and checked in one place.

Belongs here: kinds of limits, and the error that explains a wrong value. Does not belong here: any field.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Final, Protocol

_LIMIT: Final = "limit"


class ScenarioError(ValueError):
    """A scenario is wrong. The message names the field and says what it should be."""


class Limit(Protocol):
    """What a field may hold."""

    @property
    def wanted(self) -> str:
        """Name it in words that follow "should be"."""

    def accepted(self, value: Any) -> Any:
        """Return the value as it is kept.

        Raises:
            ValueError: the field may not hold it.
        """


@dataclass(frozen=True)
class Whole:
    """A whole number, both ends inclusive."""

    least: int
    greatest: int

    @property
    def wanted(self) -> str:
        """Name the range."""
        return f"a whole number from {self.least} to {self.greatest}"

    def accepted(self, value: Any) -> int:
        """Accept integers, and neither floats nor booleans."""
        if type(value) is not int or not self.least <= value <= self.greatest:
            raise ValueError
        return value


@dataclass(frozen=True)
class Number:
    """A number, both ends inclusive."""

    least: float
    greatest: float

    @property
    def wanted(self) -> str:
        """Name the range."""
        return f"a number from {self.least:g} to {self.greatest:g}"

    def accepted(self, value: Any) -> float:
        """Accept floats and integers; kept as floats, so that 1 and 1.0 are one scenario."""
        if type(value) not in {int, float} or not math.isfinite(value) or not self.least <= value <= self.greatest:
            raise ValueError
        return float(value)


def limited(default: Any, limit: Limit) -> Any:
    """Return a dataclass field with a default and a limit."""
    return dataclasses.field(default=default, metadata={_LIMIT: limit})


def check_fields(instance: Any, section: str = "") -> None:
    """Check every limited field of a frozen dataclass, and keep its values in one form.

    Args:
        instance: the dataclass, from its `__post_init__`.
        section: what the section is called in a scenario file; put before the field's name.

    Raises:
        ScenarioError: a field is out of its limits.
    """
    for field in dataclasses.fields(instance):
        limit: Limit | None = field.metadata.get(_LIMIT)
        if limit is None:
            continue
        value = getattr(instance, field.name)
        name = f"{section}.{field.name}" if section else field.name
        try:
            object.__setattr__(instance, field.name, limit.accepted(value))
        except (ValueError, TypeError):
            raise ScenarioError(f"{name} should be {limit.wanted}, not {value!r}") from None
