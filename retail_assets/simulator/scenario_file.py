"""Scenarios from TOML files: the presets of the package, or a file of one's own.

Belongs here: sections and names of a file, and errors that name its fields. Does not belong here: what a field means
(`scenario`).

    [retailer]
    last_date = 2025-12-31
    seed = 7

    [stores]
    count = 10

A file states what differs from the defaults. `retailer.last_date` has none.
"""

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from retail_assets.simulator.limits import ScenarioError
from retail_assets.simulator.scenario import (
    AnomalyRates,
    CatalogueSettings,
    DemandSettings,
    DirtRates,
    Scenario,
    StockSettings,
    StoreSettings,
)

#: The presets, the smallest first.
PRESETS: Final = ("tiny", "demo", "city", "chain")

# What a file calls those fields that the scenario holds itself, by section.
_OWN_FIELDS: Final[dict[str, dict[str, str]]] = {
    "retailer": {name: name for name in ("last_date", "seed", "days", "time_zone", "currency")},
    "stores": {"count": "stores"},
    "catalogue": {"products": "products"},
    "dirt": {"malformed": "malformed", "duplicates": "duplicates"},
}
# The scenario's attribute for all other fields of a section, and its type.
_SECTIONS: Final[dict[str, tuple[str, type[Any]]]] = {
    "stores": ("store_settings", StoreSettings),
    "catalogue": ("catalogue", CatalogueSettings),
    "demand": ("demand", DemandSettings),
    "stock": ("stock", StockSettings),
    "anomalies": ("anomalies", AnomalyRates),
    "dirt": ("dirt", DirtRates),
}
_TABLES: Final = frozenset({"time_zones"})


def field_names() -> tuple[str, ...]:
    """Return all fields of a file, as `section.field`."""
    names = [f"{section}.{name}" for section, own in _OWN_FIELDS.items() for name in own]
    names += [f"{section}.{f.name}" for section, (_, kind) in _SECTIONS.items() for f in dataclasses.fields(kind)]
    return tuple(sorted(names))


def load_scenario(source: str | Path, **overrides: Any) -> Scenario:
    """Read a scenario.

    Args:
        source: the name of a preset, or the path of a TOML file.
        overrides: values instead of the file's, by the name of the scenario's attribute (`stores=3`) or, passed as
            `**{"demand.dispersion": 0.4}`, by the name in a file. None leaves what the file says.

    Raises:
        ScenarioError: there is no such preset or file, it is no TOML, or a field is unknown, missing or out of its
            limits. The message names the field.
    """
    values = _flat(_read(source), str(source))
    flat_names = {
        attribute: f"{section}.{name}" for section, own in _OWN_FIELDS.items() for name, attribute in own.items()
    }
    known = field_names()
    for name, value in overrides.items():
        full = flat_names.get(name, name)
        _check_known(full, known)
        if value is not None:
            values[full] = value
    return _scenario(values)


def _read(source: str | Path) -> Mapping[str, Any]:
    if isinstance(source, str) and source in PRESETS:
        text = resources.files(__package__).joinpath("scenarios", f"{source}.toml").read_text("utf-8")
    else:
        try:
            text = Path(source).read_text("utf-8")
        except OSError as error:
            raise ScenarioError(
                f"scenario should be a preset ({', '.join(PRESETS)}) or a readable file, not {str(source)!r}: "
                f"{error.strerror}"
            ) from error
        except UnicodeDecodeError as error:
            raise ScenarioError(f"{source} should be a TOML file in UTF-8: {error}") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{source} should be a TOML file: {error}") from error


def _flat(sections: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return a file's values by `section.field`."""
    known = field_names()
    wanted = sorted({name.split(".", 1)[0] for name in known})
    values: dict[str, Any] = {}
    for section, fields in sections.items():
        if section not in wanted:
            raise ScenarioError(f"[{section}] in {source} is no section{_hint(section, wanted)}")
        if not isinstance(fields, Mapping):
            raise ScenarioError(f"{section} should be a section [{section}] with fields, not {fields!r}")
        for field, value in fields.items():
            name = f"{section}.{field}"
            _check_known(name, known)
            values[name] = value
    return values


def _check_known(name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        section = name.split(".", 1)[0]
        near = [field for field in known if field.startswith(f"{section}.")] or list(known)
        raise ScenarioError(f"{name} is no field of a scenario{_hint(name, near)}")


def _hint(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else f": there are {', '.join(known)}"


def _scenario(values: dict[str, Any]) -> Scenario:
    if "retailer.last_date" not in values:
        raise ScenarioError("retailer.last_date should be a date such as 2025-12-31; it is missing")
    arguments: dict[str, Any] = {}
    file_names: dict[str, str] = {}
    for section, own in _OWN_FIELDS.items():
        for name, attribute in own.items():
            file_names[attribute] = f"{section}.{name}"
            if f"{section}.{name}" in values:
                arguments[attribute] = values.pop(f"{section}.{name}")
    for section, (attribute, kind) in _SECTIONS.items():
        fields = {name.split(".", 1)[1]: value for name, value in values.items() if name.startswith(f"{section}.")}
        arguments[attribute] = kind(**{name: _plain(section, name, value) for name, value in fields.items()})
    try:
        return Scenario(**arguments)
    except ScenarioError as error:
        # The scenario calls its own fields by other names than a file does.
        attribute, _, rest = str(error).partition(" ")
        raise ScenarioError(f"{file_names.get(attribute, attribute)} {rest}") from None


def _plain(section: str, name: str, value: Any) -> Any:
    """Return a table of a file as the sorted pairs that a scenario holds."""
    if name not in _TABLES:
        return value
    if not isinstance(value, Mapping | tuple):
        raise ScenarioError(f'{section}.{name} should be a table such as {{ East = "Europe/Berlin" }}, not {value!r}')
    return tuple(sorted(value.items() if isinstance(value, Mapping) else value))
