"""The thresholds of data quality, from the one file that states them: `thresholds.toml`.

Belongs here: names, types and limits of the thresholds, and the error that names a wrong one. Does not belong here:
what is done with them (`domain.trust`, `domain.quality`), and the rules that no retailer would change (`contracts`).
"""

import functools
import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

_FILE: Final = "thresholds.toml"

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Days = Annotated[int, Field(ge=1, le=366)]
Share = Annotated[float, Field(ge=0, le=1)]


class ThresholdsError(Exception):
    """A file of thresholds is wrong. The message names the file and each wrong field."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Quarantine(_Section):
    """From where on an event that a contract accepts can't be trusted as a fact."""

    hours_ahead: Positive
    days_before_opening: Annotated[int, Field(ge=0)]
    units_per_line: Positive
    units_per_movement: Positive
    price_over_list: Annotated[float, Field(gt=1, allow_inf_nan=False)]
    discount_over_value: Positive


class KeptOut(_Section):
    """From where on too much is kept out of the facts."""

    most_share: Share


class Volume(_Section):
    """From where on a store's day has too many or too few units for its weekday."""

    weeks: Annotated[int, Field(ge=1, le=52)]
    min_weeks: Annotated[int, Field(ge=2, le=52)]
    score: Positive
    least_spread_share: Share


class Shares(_Section):
    """From where on the share of nulls or zeros in a column has changed."""

    weeks: Annotated[int, Field(ge=1, le=52)]
    min_weeks: Annotated[int, Field(ge=2, le=52)]
    score: Positive
    least_change: Share


class PriceJumps(_Section):
    """From where on a product's price has jumped."""

    days: Days
    min_days: Days
    ratio: Annotated[float, Field(gt=1, allow_inf_nan=False)]


class Freshness(_Section):
    """How far a layer may lag behind: raw behind the clock, each other one behind what it is made from."""

    raw_hours: Positive
    core_days: Annotated[int, Field(ge=0)]
    features_days: Annotated[int, Field(ge=0)]
    forecasts_days: Annotated[int, Field(ge=0)]
    inventory_days: Annotated[int, Field(ge=0)]


class Thresholds(_Section):
    """All thresholds."""

    quarantine: Quarantine
    kept_out: KeptOut
    volume: Volume
    shares: Shares
    price_jumps: PriceJumps
    freshness: Freshness


@functools.cache
def load_thresholds(own: Path | None = None) -> Thresholds:
    """Return the platform's thresholds, with those of a retailer's own file in their place.

    Args:
        own: a TOML file of the same sections; names only what differs.

    Raises:
        ThresholdsError: the file can't be read, or a field is unknown, of the wrong type or out of its limits.
    """
    text = resources.files("retail_assets.contracts").joinpath(_FILE).read_text(encoding="utf-8")
    values: dict[str, Any] = tomllib.loads(text)
    if own is not None:
        for section, fields in _read(own).items():
            merged = {**values.get(section, {}), **fields} if isinstance(fields, dict) else fields
            values[section] = merged
    try:
        return Thresholds.model_validate(values)
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in problem['loc'])} is {problem['input']!r}: "
            f"{'is no threshold' if problem['type'] == 'extra_forbidden' else problem['msg']}"
            for problem in error.errors()
        ]
        raise ThresholdsError(f"{own or _FILE}: " + "; ".join(lines)) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ThresholdsError(f"{path}: can't be read as TOML: {error}") from None
