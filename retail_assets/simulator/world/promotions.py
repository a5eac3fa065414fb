"""The plan of promotions: which product, in which stores, in which week, how deep, with a display or not.

Belongs here: the plan, and finding what of it concerns a store and a stretch of days. Does not belong here: what
customers make of it (`demand`).
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from retail_assets.contracts.tables import REFERENCE_PROMOTIONS
from retail_assets.contracts.types import polars_schema
from retail_assets.simulator.randomness import Purpose, stream
from retail_assets.simulator.runs import Ints
from retail_assets.simulator.scenario import Scenario

#: Promotions are planned for whole weeks: at least this many days ahead are always known.
PROMOTION_DAYS_AHEAD: Final = 28

_WEEK: Final = 7
#: Which part of the products is ever promoted, where the scenario doesn't promote more; the others never are.
_PROMOTABLE: Final = 0.2
_STORE_SHARE: Final = 0.8
_DISCOUNT_PERCENTS: Final = (10, 15, 20, 25, 30, 40, 50)
_DISCOUNT_WEIGHTS: Final = (0.06, 0.12, 0.24, 0.24, 0.20, 0.10, 0.04)


def draw_promotions(scenario: Scenario, stores: pl.DataFrame, products: pl.DataFrame) -> pl.DataFrame:
    """Draw promotions of whole weeks, Monday to Sunday, for a few products each, in most stores each.

    A product is on at most one promotion at a time, since each week draws its products once. Every week is drawn by
    itself, and ids count up from week to week: more weeks add rows at the end and change none.

    Returns:
        `reference/promotions`, in the order of its grain.
    """
    first = scenario.first_date
    monday_before = -first.weekday()
    launched, discontinued = (
        ((products[column].cast(pl.Int32) - first.toordinal() + _EPOCH_ORDINAL).fill_null(missing)).to_numpy()
        for column, missing in (("launched_on", 0), ("discontinued_on", np.iinfo(np.int32).max))
    )
    share = max(_PROMOTABLE, scenario.catalogue.promoted)
    lots = stream(scenario.seed, Purpose.PROMOTIONS).random(products.height)
    promotable = (lots < share) | (lots == lots.min())  # one at least, in the smallest catalogue
    chance = np.where(promotable, scenario.catalogue.promoted / share, 0.0)
    parts: list[tuple[npt.NDArray[Any], ...]] = []
    number = 0
    for week, starts in enumerate(range(monday_before, scenario.days + PROMOTION_DAYS_AHEAD, _WEEK)):
        rng = stream(scenario.seed, Purpose.PROMOTIONS, week)
        promoted = rng.random(products.height) < chance
        if scenario.catalogue.promoted > 0 and not promoted.any():
            # Every week has one promotion at least, so that the smallest scenario shows some.
            promoted[rng.choice(np.flatnonzero(promotable))] = True
        chosen = np.flatnonzero(promoted)
        percent = rng.choice(_DISCOUNT_PERCENTS, p=_DISCOUNT_WEIGHTS, size=chosen.size)
        display = rng.random(chosen.size) < scenario.catalogue.on_display
        taking_part = rng.random((chosen.size, stores.height)) < _STORE_SHARE
        taking_part[np.arange(chosen.size), rng.integers(stores.height, size=chosen.size)] = True
        on_sale = (launched[chosen] <= starts) & (starts + _WEEK - 1 <= discontinued[chosen])
        kept = np.flatnonzero(on_sale)
        row, store = np.nonzero(taking_part[kept])
        at = kept[row]
        parts.append((number + row, np.full_like(row, starts), store, chosen[at], percent[at], display[at]))
        number += kept.size
    numbers, monday, store, product, percent, display = (np.concatenate(column) for column in zip(*parts, strict=True))
    starts_on = pl.lit(first) + pl.duration(days=pl.col("monday"))
    return (
        pl.DataFrame(
            {
                "promotion_id": "PR" + pl.Series(numbers + 1).cast(pl.String).str.zfill(6),
                "store_id": stores["store_id"].gather(store),
                "product_id": products["product_id"].gather(product),
                "monday": monday,
                "discount_share": percent / 100,
                "on_display": display.astype(np.bool_),
            }
        )
        .with_columns(starts_on=starts_on, ends_on=starts_on + pl.duration(days=_WEEK - 1))
        .select(REFERENCE_PROMOTIONS.column_names)
        .cast(polars_schema(REFERENCE_PROMOTIONS.columns))
    )


#: The day that Polars counts dates from, as Python counts them.
_EPOCH_ORDINAL: Final = 719_163


@dataclass(frozen=True)
class PromotionIndex:
    """The rows of `reference/promotions`, found by store and day. Arrays of the table's length.

    Attributes:
        store: place in `world.stores`.
        product: place in `world.products`.
        start: first day, counted from the scenario's first date.
        after: the day after the last.
    """

    store: Ints
    product: Ints
    start: Ints
    after: Ints
    _by_store: Ints
    _first_of_store: Ints

    @classmethod
    def of(
        cls, scenario: Scenario, promotions: pl.DataFrame, stores: pl.DataFrame, products: pl.DataFrame
    ) -> "PromotionIndex":
        """Index a table of promotions.

        Args:
            scenario: gives the first date.
            promotions: `reference/promotions`, in the order of time.
            stores: `reference/stores`.
            products: `reference/products`.
        """
        first = scenario.first_date.toordinal() - _EPOCH_ORDINAL
        start, end = (promotions[column].cast(pl.Int64).to_numpy() - first for column in ("starts_on", "ends_on"))
        store = _places(promotions["store_id"], stores["store_id"])
        by_store = np.argsort(store, kind="stable")
        return cls(
            store=store,
            product=_places(promotions["product_id"], products["product_id"]),
            start=start,
            after=end + 1,
            _by_store=by_store,
            _first_of_store=np.searchsorted(store[by_store], np.arange(stores.height + 1)),
        )

    def rows(self, store: int, first: int, after: int) -> Ints:
        """Return the rows of a store that apply on some of the days from `first` to before `after`."""
        own = self._by_store[self._first_of_store[store] : self._first_of_store[store + 1]]
        # Within a store the rows lie in the order of time, all of them weeks that don't overlap with later ones.
        place = slice(
            np.searchsorted(self.after[own], first, side="right"), np.searchsorted(self.start[own], after, side="left")
        )
        return own[place]


def _places(ids: pl.Series, of: pl.Series) -> Ints:
    """Return the place of each id among those of a table that is sorted by them."""
    return np.asarray(of.search_sorted(ids).to_numpy(), dtype=np.int64)
