"""The days of one store's series, zeros and all, from what was read of a lake.

Belongs here: where a series begins and ends, which days were promoted, when shelves were empty during trade. Does not
belong here: reading a lake (`observation`), figures (`statistics`).

A store is looked at by itself, so that memory is bounded by one store's days, however many the stores.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from retail_assets.simulator.realism.observation import UTC_MICROS, Observation

#: Last day of a product's life, in catalogues that have one.
_LAST_DAY_COLUMN: Final = "discontinued_on"
_HOUR: Final = 3_600_000_000  # microseconds


@dataclass(frozen=True)
class StoreDays:
    """What one store's events say.

    Attributes:
        store_id: which store.
        format: its format.
        days: a frame of days, see `statistics`. A series begins with its first sale or movement of stock; it ends with
            the data, or with its last day in the catalogue or its last sale, whichever is later.
        clock: how full shelves were at each full hour from opening to closing: `hour` (0 to 24, local), `series_days`
            (series, summed over days), `empty`, `opening` and `closing` (whether trade begins or ends then).
    """

    store_id: str
    format: str
    days: pl.DataFrame
    clock: pl.DataFrame


def days_by_store(observation: Observation) -> Iterator[StoreDays]:
    """Yield what each store's events say, in the order of the stores' table; stores without events are left out."""
    for store in observation.stores.iter_rows(named=True):
        view = _Store(observation, store)
        if not view.spans.is_empty():
            yield StoreDays(store["store_id"], store["format"], view.days(), view.clock())


class _Store:
    """One store's days, put together from what was kept."""

    def __init__(self, observation: Observation, store: dict[str, object]) -> None:
        self._observation = observation
        self._store_id = str(store["store_id"])
        self._zone = str(store["time_zone"])
        self._sold = (
            observation.kept("sales", self._store_id)
            .group_by("product_id", "date")
            # A void may come after midnight; less than nothing was sold on no day.
            .agg(units=pl.col("units").sum().clip(lower_bound=0))
        )
        self._turns = observation.kept("shelves", self._store_id).sort("product_id", "at", maintain_order=True)
        self._hours = self._trading_hours(int(str(store["opens_at_hour"])), int(str(store["closes_at_hour"])))
        self.spans = self._spans()
        self._empty = self._empty_shelves()

    def _trading_hours(self, opens: int, closes: int) -> pl.DataFrame:
        """Return `date`, `opens` and `closes` (UTC), one row per date."""
        dates = pl.date_range(self._observation.first_date, self._observation.last_date, eager=True)

        def instant(hour: int) -> pl.Expr:
            local = pl.col("date").cast(pl.Datetime("us")) + timedelta(hours=hour)
            # No shop opens or closes in the hour that a clock skips; if one does, it is the hour before.
            known = local.dt.replace_time_zone(self._zone, ambiguous="earliest", non_existent="null")
            before = (local - timedelta(hours=1)).dt.replace_time_zone(self._zone, ambiguous="earliest")
            return known.fill_null(before).dt.convert_time_zone("UTC")

        return pl.DataFrame({"date": dates}).with_columns(opens=instant(opens), closes=instant(closes))

    def _spans(self) -> pl.DataFrame:
        """Return each series' first and last day, and the first on which its shelf is known (null for none).

        The columns are `product_id`, `first`, `last`, `known`.
        """
        observation = self._observation
        moved = pl.col("at").dt.convert_time_zone(self._zone).dt.date()
        sold = self._sold.group_by("product_id").agg(first=pl.col("date").min(), last_sale=pl.col("date").max())
        stocked = self._turns.group_by("product_id").agg(known=moved.min())
        ends = pl.lit(observation.last_date)
        products = observation.products.select("product_id")
        if _LAST_DAY_COLUMN in observation.products.columns:
            ends = pl.max_horizontal(pl.col(_LAST_DAY_COLUMN).fill_null(observation.last_date), "last_sale")
            products = observation.products.select("product_id", _LAST_DAY_COLUMN)
        return (
            sold.join(stocked, on="product_id", how="full", coalesce=True)
            .join(products, on="product_id")
            .select(
                "product_id",
                "known",
                first=pl.min_horizontal("first", "known").clip(lower_bound=observation.first_date),
                last=ends.clip(upper_bound=observation.last_date),
            )
            .filter(pl.col("first") <= pl.col("last"))
            .sort("product_id")
        )

    def _empty_shelves(self) -> pl.DataFrame:
        """Return when shelves were empty within a series' days: `product_id`, `from`, `to` (UTC microseconds)."""
        turns = self._turns.filter(
            (pl.col("empty") != pl.col("empty").shift().over("product_id")).fill_null(value=True)
        )
        closes = self._hours.select("date", end=pl.col("closes").cast(UTC_MICROS).dt.epoch("us"))
        return (
            turns.with_columns(to=pl.col("at").shift(-1).over("product_id"))
            .filter("empty")
            .join(self.spans.join(closes, left_on="last", right_on="date"), on="product_id")
            .select(
                "product_id",
                pl.col("at").dt.epoch("us").alias("from"),
                to=pl.min_horizontal(pl.col("to").dt.epoch("us"), "end"),
            )
            .filter(pl.col("to") > pl.col("from"))
        )

    def days(self) -> pl.DataFrame:
        """Return the store's frame of days."""
        keys = ["product_id", "date"]
        promoted = self._promoted_days().with_columns(on_promotion=pl.lit(value=True))
        hours = self._hours.select(
            "date", open_hours=(pl.col("closes") - pl.col("opens")).dt.total_microseconds() / _HOUR
        )
        return (
            self.spans.select("product_id", "known", date=pl.date_ranges("first", "last"))
            .explode("date")
            .join(self._sold, on=keys, how="left")
            .join(promoted, on=keys, how="left")
            .join(self._empty_hours(), on=keys, how="left")
            .join(hours, on="date", how="left")
            .select(
                pl.lit(self._store_id).alias("store_id"),
                *keys,
                pl.col("units").fill_null(0.0),
                pl.col("on_promotion").fill_null(value=False),
                "open_hours",
                pl.when(pl.col("date") >= pl.col("known")).then(pl.col("empty_hours").fill_null(0.0)),
            )
            .with_columns(stocked_out=pl.col("empty_hours") > 0)
        )

    def _promoted_days(self) -> pl.DataFrame:
        observation = self._observation
        return (
            observation.promotions.filter(
                (pl.col("store_id") == self._store_id)
                & (pl.col("starts_on") <= observation.last_date)
                & (pl.col("ends_on") >= pl.col("starts_on"))
            )
            .select("product_id", date=pl.date_ranges("starts_on", "ends_on"))
            .explode("date")
            .unique()
        )

    def _empty_hours(self) -> pl.DataFrame:
        """Return the days with an empty shelf at some time of trade: `product_id`, `date`, `empty_hours`."""
        opens, closes = (_micros(self._hours[name]) for name in ("opens", "closes"))
        first = np.searchsorted(closes, _micros(self._empty["from"]), side="right")
        last = np.searchsorted(opens, _micros(self._empty["to"]), side="left") - 1
        base = self._observation.first_date
        return (
            self._empty.with_columns(first=pl.Series(first), last=pl.Series(last))
            .filter(pl.col("last") >= pl.col("first"))
            .select(
                "product_id",
                "from",
                "to",
                date=pl.date_ranges(
                    pl.lit(base) + pl.duration(days=pl.col("first")), pl.lit(base) + pl.duration(days=pl.col("last"))
                ),
            )
            .explode("date")
            .join(self._hours.with_columns(opens=pl.Series(opens), closes=pl.Series(closes)), on="date")
            .with_columns(empty=pl.min_horizontal("to", "closes") - pl.max_horizontal("from", "opens"))
            .group_by("product_id", "date")
            .agg(empty_hours=pl.col("empty").sum() / _HOUR)
        )

    def clock(self) -> pl.DataFrame:
        """Return how many shelves were empty at each full hour of trade, see `StoreDays.clock`."""
        listed = (
            self.spans.select(date=pl.date_ranges(pl.max_horizontal("first", "known"), "last"), known="known")
            .filter(pl.col("known") <= pl.col("date").list.last())
            .explode("date")
            .group_by("date")
            .agg(series=pl.len().cast(pl.Int64))
        )
        # An hour is an hour here, also on the day on which the clock changes.
        times = (
            self._hours.join(listed, on="date")
            .select("date", "series", "opens", "closes", at=pl.datetime_ranges("opens", "closes", "1h"))
            .explode("at")
            .with_columns(opening=pl.col("at") == pl.col("opens"), closing=pl.col("at") == pl.col("closes"))
            .sort("at", "closing", descending=[False, True])
        )
        # At closing means just before it: where trade never ends, the next day opens at that instant.
        instants = _micros(times["at"]) - times["closing"].cast(pl.Int64).to_numpy()
        # +1 at the first instant with an empty shelf, -1 at the first with a filled one.
        change = np.bincount(np.searchsorted(instants, _micros(self._empty["from"])), minlength=instants.size + 1)
        change -= np.bincount(np.searchsorted(instants, _micros(self._empty["to"])), minlength=instants.size + 1)
        return (
            times.with_columns(
                empty=pl.Series(np.cumsum(change)[:-1]),
                local=pl.col("at").dt.convert_time_zone(self._zone).dt.replace_time_zone(None),
            )
            .with_columns(hour=(pl.col("local") - pl.col("date").cast(pl.Datetime("us"))).dt.total_hours())
            .group_by("hour", "opening", "closing")
            .agg(series_days=pl.col("series").sum(), empty=pl.col("empty").sum())
            .sort("hour")
        )


def _micros(times: pl.Series) -> npt.NDArray[np.int64]:
    """Return times as microseconds since the epoch."""
    return times.cast(pl.Int64).to_numpy()
