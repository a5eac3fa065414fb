"""What is to be simulated: a handful of numbers that decide everything else.

Belongs here: the scenario, its limits, and the one error that explains a wrong one. Does not belong here: how a
scenario becomes stores, demand or events.
"""

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final
from zoneinfo import available_timezones

#: Counts up whenever the same scenario begins to give other data, so that a fingerprint never stands for two.
SIMULATOR_VERSION: Final = 1

_MAX_STORES: Final = 999
_MAX_PRODUCTS: Final = 9_999
_MAX_DAYS: Final = 3_660
_MAX_EXTRA_MESSAGES: Final = 100_000
_CURRENCY: Final = re.compile(r"[A-Z]{3}")


class ScenarioError(ValueError):
    """A field of the scenario is out of its limits. The message names the field and says what it should be."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One synthetic retailer over one stretch of time. Equal scenarios give byte-identical data.

    Attributes:
        last_date: "today", the business date that is streamed; everything before it is history.
        seed: chooses one of many worlds of the same kind.
        stores: how many stores.
        products: how many products; every store carries all that have been launched.
        days: business dates in all, `last_date` included.
        time_zone: IANA name; gives the business date.
        currency: ISO 4217 code of all money.
        malformed: messages of today that break the contract.
        duplicates: messages of today that are sent a second time.
    """

    last_date: date
    seed: int = 7
    stores: int = 10
    products: int = 120
    days: int = 400
    time_zone: str = "Europe/Berlin"
    currency: str = "EUR"
    malformed: int = 5
    duplicates: int = 25

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ScenarioError: a field is out of its limits.
        """
        self._check_whole("seed", 0, 2**63 - 1)
        self._check_whole("stores", 1, _MAX_STORES)
        self._check_whole("products", 1, _MAX_PRODUCTS)
        self._check_whole("days", 2, _MAX_DAYS)
        self._check_whole("malformed", 0, _MAX_EXTRA_MESSAGES)
        self._check_whole("duplicates", 0, _MAX_EXTRA_MESSAGES)
        # A datetime is a date as well, but would give other fingerprints for the same day.
        if type(self.last_date) is not date:
            raise ScenarioError(f"last_date should be a date, not {self.last_date!r}")
        if self.time_zone not in available_timezones():
            raise ScenarioError(f"time_zone should be an IANA time zone such as Europe/Berlin, not {self.time_zone!r}")
        if not isinstance(self.currency, str) or not _CURRENCY.fullmatch(self.currency):
            raise ScenarioError(f"currency should be three capital letters such as EUR, not {self.currency!r}")

    def _check_whole(self, field: str, least: int, greatest: int) -> None:
        value = getattr(self, field)
        if type(value) is not int or not least <= value <= greatest:
            raise ScenarioError(f"{field} should be a whole number from {least} to {greatest}, not {value!r}")

    @property
    def first_date(self) -> date:
        """The first business date of the history."""
        return self.last_date - timedelta(days=self.days - 1)

    @property
    def dates(self) -> list[date]:
        """All business dates, the first to the last."""
        return [self.first_date + timedelta(days=day) for day in range(self.days)]

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that stand for this scenario and this version of the simulator."""
        fields = dataclasses.asdict(self) | {"last_date": self.last_date.isoformat(), "simulator": SIMULATOR_VERSION}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]
