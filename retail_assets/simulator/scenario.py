"""What is to be simulated: every number that decides what the data will be.

Belongs here: the scenario, its sections, their limits and defaults. Does not belong here: reading a file
(`scenario_file`), and how a scenario becomes stores, demand or events.

Everything that is drawn depends on the scenario and on days counted from `first_date`, never on how many days there
are: two scenarios that differ in `days` and `last_date` alone, and begin on the same day, agree on all days they share.
"""

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final
from zoneinfo import available_timezones

from retail_assets.simulator.limits import Number, ScenarioError, Whole, check_fields, limited
from retail_assets.simulator.world.catalogue import REGIONS

__all__ = [
    "DAYS_PER_YEAR",
    "SIMULATOR_VERSION",
    "AnomalyRates",
    "CatalogueSettings",
    "DemandSettings",
    "DirtRates",
    "Scenario",
    "ScenarioError",
    "StockSettings",
    "StoreSettings",
]

#: Counts up whenever the same scenario begins to give other data, so that a fingerprint never stands for two.
SIMULATOR_VERSION: Final = 5

DAYS_PER_YEAR: Final = 365.25
_MAX_STORES: Final = 999
_MAX_PRODUCTS: Final = 9_999
_MAX_DAYS: Final = 3_660
_MAX_EXTRA_MESSAGES: Final = 100_000
#: Of the last date; the contract takes events of 2000 to 2099.
_DATES: Final = (date(2011, 1, 1), date(2090, 12, 31))
_CURRENCY: Final = re.compile(r"[A-Z]{3}")

_REGIONS: Final = tuple(region.name for region in REGIONS)
_SHARE: Final = Number(0, 1)
_PER_STORE_AND_YEAR: Final = Number(0, 1_000)
#: How strong an effect is: 0 switches it off, 1 is as in real retail.
_STRENGTH: Final = Number(0, 5)


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """Section `stores`, but for how many there are.

    Attributes:
        hypermarkets: weight of the format among the stores.
        supermarkets: weight of the format among the stores.
        convenience_stores: weight of the format among the stores.
        time_zones: IANA names by region, for regions that don't have the retailer's.
    """

    hypermarkets: float = limited(0.2, _SHARE)
    supermarkets: float = limited(0.5, _SHARE)
    convenience_stores: float = limited(0.3, _SHARE)
    time_zones: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ScenarioError: a field is out of its limits.
        """
        check_fields(self, "stores")
        if self.hypermarkets + self.supermarkets + self.convenience_stores == 0:
            raise ScenarioError("stores.supermarkets should be above 0 where all other formats are 0, not 0.0")
        for region, zone in self.time_zones:
            if region not in _REGIONS:
                raise ScenarioError(f"stores.time_zones should name regions ({', '.join(_REGIONS)}), not {region!r}")
            check_time_zone(f"stores.time_zones.{region}", zone)


@dataclass(frozen=True, kw_only=True)
class CatalogueSettings:
    """Section `catalogue`, but for how many products there are.

    Attributes:
        launched_later: share of the products that are launched after the first date, spread over two years.
        discontinued: share of the products that are taken off the shelves after the first date, over two years.
        promoted: share of the products on promotion in any week.
        on_display: share of the promotions with a display in the store.
    """

    launched_later: float = limited(0.08, _SHARE)
    discontinued: float = limited(0.08, _SHARE)
    promoted: float = limited(0.01, _SHARE)
    on_display: float = limited(0.3, _SHARE)

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ScenarioError: a field is out of its limits.
        """
        check_fields(self, "catalogue")


@dataclass(frozen=True, kw_only=True)
class DemandSettings:
    """Section `demand`.

    Attributes:
        mean_units_per_day: of a store and product, before promotions and holidays.
        product_spread: spread of the logs of the products' means.
        series_spread: further spread of the logs of a product's means between stores.
        trend_spread: spread of the products' yearly growth, in logs.
        dispersion: variance over mean of one day's draw is 1 + dispersion * mean ** dispersion_power (Taylor's law).
        dispersion_power: see `dispersion`.
        season: strength of the yearly season.
        pay_day: strength of the monthly season.
        weekday: strength of the weekly season.
        holidays: strength of public holidays and the days before them.
        weather: strength of heat and rain.
        drift: strength of each series' own slow changes.
        shocks: strength of the shocks that a store's or a category's products have in common.
        price: strength of the price elasticity, and so of promotions.
        after_dip: strength of the dip after a promotion.
        cannibalisation: strength of what a promotion takes from its neighbours.
    """

    mean_units_per_day: float = limited(3.2, Number(0.01, 1_000))
    product_spread: float = limited(1.08, Number(0, 3))
    series_spread: float = limited(0.4, Number(0, 3))
    trend_spread: float = limited(0.12, Number(0, 1))
    dispersion: float = limited(0.2, Number(0.01, 10))
    dispersion_power: float = limited(0.8, Number(0, 1))
    season: float = limited(1.0, _STRENGTH)
    pay_day: float = limited(1.0, _STRENGTH)
    weekday: float = limited(1.0, _STRENGTH)
    holidays: float = limited(1.0, _STRENGTH)
    weather: float = limited(1.0, _STRENGTH)
    drift: float = limited(1.0, _STRENGTH)
    shocks: float = limited(1.0, _STRENGTH)
    price: float = limited(1.0, _STRENGTH)
    after_dip: float = limited(1.0, Number(0, 2))
    cannibalisation: float = limited(1.0, Number(0, 2))

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ScenarioError: a field is out of its limits.
        """
        check_fields(self, "demand")


@dataclass(frozen=True, kw_only=True)
class StockSettings:
    """Section `stock`.

    Attributes:
        target_days: the incumbent's policy orders up to so many days of the trailing mean; fewer of what spoils.
        trigger_days: the incumbent's policy orders when stock and orders cover less than so many days; fewer of what
            spoils.
        substitution: share of the customers before an empty shelf who take a substitute.
        returns: share of the lines of goods that keep which are brought back.
        voids: share of the baskets that are voided.
        shrinkage: units that vanish unnoticed, as a share of a series' mean demand before seasons and promotions.
        adjustments: share of the series that are corrected on a day.
        counts: share of the series that are counted in a week.
        transfers: share of the series on the brink of a stock-out that ask a neighbouring store for help.
    """

    target_days: float = limited(25.0, Number(1, 365))
    trigger_days: float = limited(11.0, Number(0, 365))
    substitution: float = limited(0.3, _SHARE)
    returns: float = limited(0.014, _SHARE)
    voids: float = limited(0.003, _SHARE)
    shrinkage: float = limited(0.002, _SHARE)
    adjustments: float = limited(0.0015, _SHARE)
    counts: float = limited(0.1, _SHARE)
    transfers: float = limited(0.1, _SHARE)

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ScenarioError: a field is out of its limits.
        """
        check_fields(self, "stock")


@dataclass(frozen=True, kw_only=True)
class AnomalyRates:
    """Section `anomalies`: how many of each kind begin in a store in a year. None by default.

    Attributes:
        demand_spikes: demand of a product or category multiplies for days.
        demand_drops: demand of a product or category falls away for days.
        double_scans: a till's scanner counts lines twice for hours.
        thefts: a product is stolen again and again for days.
        price_errors: the tills ask a wrong price for a product for days.
        silent_tills: a till says nothing for hours.
        missed_deliveries: what one supplier should bring to the store does not arrive for days.
    """

    demand_spikes: float = limited(0.0, _PER_STORE_AND_YEAR)
    demand_drops: float = limited(0.0, _PER_STORE_AND_YEAR)
    double_scans: float = limited(0.0, _PER_STORE_AND_YEAR)
    thefts: float = limited(0.0, _PER_STORE_AND_YEAR)
    price_errors: float = limited(0.0, _PER_STORE_AND_YEAR)
    silent_tills: float = limited(0.0, _PER_STORE_AND_YEAR)
    missed_deliveries: float = limited(0.0, _PER_STORE_AND_YEAR)

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ScenarioError: a field is out of its limits.
        """
        check_fields(self, "anomalies")


@dataclass(frozen=True, kw_only=True)
class DirtRates:
    """Section `dirt`, but for the counts of today: shares of the messages that live tills send wrong. None by default.

    Attributes:
        duplicate_rate: sent a second time.
        late_rate: sent minutes to hours after they happened.
        out_of_order_rate: sent after a later one of the same store.
        clock_skew_rate: share of the tills, not of the messages, whose clock is wrong.
        malformed_rate: break the contract.
        unknown_version_rate: say a version of the schema that nobody knows.
    """

    duplicate_rate: float = limited(0.0, _SHARE)
    late_rate: float = limited(0.0, _SHARE)
    out_of_order_rate: float = limited(0.0, _SHARE)
    clock_skew_rate: float = limited(0.0, _SHARE)
    malformed_rate: float = limited(0.0, _SHARE)
    unknown_version_rate: float = limited(0.0, _SHARE)

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ScenarioError: a field is out of its limits.
        """
        check_fields(self, "dirt")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One synthetic retailer over one stretch of time. Equal scenarios give byte-identical data.

    Attributes:
        last_date: "today", the business date that is streamed; everything before it is history.
        seed: chooses one of many worlds of the same kind.
        stores: how many stores.
        products: how many products; every store carries all that are on sale.
        days: business dates in all, `last_date` included.
        time_zone: IANA name; gives the business date.
        currency: ISO 4217 code of all money.
        malformed: messages of today that break the contract.
        duplicates: messages of today that are sent a second time.
        store_settings: what kinds of stores.
        catalogue: how the catalogue changes, and what is promoted.
        demand: how customers behave.
        stock: how the stores handle their stock.
        anomalies: what goes wrong in the stores, with a label in the truth.
        dirt: what goes wrong on the way from live tills.
    """

    last_date: date
    seed: int = limited(7, Whole(0, 2**63 - 1))
    stores: int = limited(10, Whole(1, _MAX_STORES))
    products: int = limited(120, Whole(1, _MAX_PRODUCTS))
    days: int = limited(400, Whole(2, _MAX_DAYS))
    time_zone: str = "Europe/Berlin"
    currency: str = "EUR"
    malformed: int = limited(5, Whole(0, _MAX_EXTRA_MESSAGES))
    duplicates: int = limited(25, Whole(0, _MAX_EXTRA_MESSAGES))
    store_settings: StoreSettings = field(default_factory=StoreSettings)
    catalogue: CatalogueSettings = field(default_factory=CatalogueSettings)
    demand: DemandSettings = field(default_factory=DemandSettings)
    stock: StockSettings = field(default_factory=StockSettings)
    anomalies: AnomalyRates = field(default_factory=AnomalyRates)
    dirt: DirtRates = field(default_factory=DirtRates)

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ScenarioError: a field is out of its limits.
        """
        check_fields(self)
        # A datetime is a date as well, but would give other fingerprints for the same day.
        if type(self.last_date) is not date:
            raise ScenarioError(f"last_date should be a date, not {self.last_date!r}")
        if not _DATES[0] <= self.last_date <= _DATES[1]:
            raise ScenarioError(f"last_date should be from {_DATES[0]} to {_DATES[1]}, not {self.last_date}")
        check_time_zone("time_zone", self.time_zone)
        if not isinstance(self.currency, str) or not _CURRENCY.fullmatch(self.currency):
            raise ScenarioError(f"currency should be three capital letters such as EUR, not {self.currency!r}")

    @property
    def first_date(self) -> date:
        """The first business date of the history: day 0 of everything that is drawn."""
        return self.last_date - timedelta(days=self.days - 1)

    @property
    def dates(self) -> list[date]:
        """All business dates, the first to the last."""
        return [self.first_date + timedelta(days=day) for day in range(self.days)]

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that stand for this scenario and this version of the simulator."""
        return _digits_of(dataclasses.asdict(self))

    @property
    def course_fingerprint(self) -> str:
        """The like for the scenario's course of events, however many days of it are asked for."""
        fields = dataclasses.asdict(self) | {"first_date": self.first_date}
        return _digits_of({name: value for name, value in fields.items() if name not in {"last_date", "days"}})


def _digits_of(fields: dict[str, Any]) -> str:
    said = json.dumps(fields | {"simulator": SIMULATOR_VERSION}, sort_keys=True, default=date.isoformat)
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def check_time_zone(name: str, zone: object) -> None:
    """Check that a field holds the name of a time zone.

    Raises:
        ScenarioError: it does not.
    """
    if not isinstance(zone, str) or zone not in available_timezones():
        raise ScenarioError(f"{name} should be an IANA time zone such as Europe/Berlin, not {zone!r}")
