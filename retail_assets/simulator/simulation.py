"""One simulated retailer from end to end: the world, the truth, the history and today.

Belongs here: putting the parts together, and asking for days. Does not belong here: writing to a lake (`lake`) or a
broker (`tills`), and how days come about (`engine`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import polars as pl

from retail_assets.contracts.topics import EVENT_TOPICS, INVENTORY_UPDATES, POS_EVENTS, SALES_TRANSACTIONS, Topic
from retail_assets.simulator.demand.model import DemandModel
from retail_assets.simulator.engine import EVENT_FEEDS, Engine, Feed, Part, Stretch
from retail_assets.simulator.randomness import BLOCK_DAYS
from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.stock.stock_state import StateError, StockState, load_states, save_states
from retail_assets.simulator.tills.messages import DayMessages, draft_day
from retail_assets.simulator.world.world import World, build_world


@dataclass(frozen=True)
class HistoryBatch:
    """The events of a stretch of business dates, at most a month.

    Attributes:
        first_date: the first business date.
        last_date: the last, inclusive.
        sales_transactions: baskets, with the fields of the contract.
        inventory_updates: movements, with the fields of the contract.
        pos_events: what tills said of themselves, with the fields of the contract.
    """

    first_date: date
    last_date: date
    sales_transactions: pl.DataFrame
    inventory_updates: pl.DataFrame
    pos_events: pl.DataFrame

    def events(self, topic: Topic) -> pl.DataFrame:
        """Return the events of one topic."""
        return {
            SALES_TRANSACTIONS.name: self.sales_transactions,
            INVENTORY_UPDATES.name: self.inventory_updates,
            POS_EVENTS.name: self.pos_events,
        }[topic.name]


class Simulation:
    """A retailer whose days come about when they are asked for.

    Nothing of the days is kept but the state of stock, so memory doesn't grow with them. Asking for days again
    simulates them again, from the first or from the nearest day whose state is at hand.

    Attributes:
        scenario: what was asked for.
        world: the reference frames.
        demand: what customers want. No feature may know it.
        first_day: the first day that can be asked for, counted from the first date: 0, but for a simulation that goes
            on from a saved state.
    """

    def __init__(self, scenario: Scenario, states: list[StockState] | None = None, workers: int = 1) -> None:
        """Draw the world.

        Args:
            scenario: what is asked for.
            states: by cluster, where to go on; without them, the first day comes first.
            workers: processes that simulate clusters of stores. Their number never changes the result.
        """
        self.scenario = scenario
        self.world: World = build_world(scenario)
        self.demand = DemandModel(scenario, self.world)
        self.workers = workers
        self._start = states
        self.first_day = 0 if states is None else states[0].day
        #: States before the last date, once something has come by there.
        self._before_today = states if self.first_day == scenario.days - 1 else None
        self._course: Engine | None = None
        self._latest: tuple[int, HistoryBatch] | None = None

    @property
    def anomalies(self) -> pl.DataFrame:
        """`truth/anomalies` of all days. No feature may read it."""
        return self.demand.anomalies.labels(0, self.scenario.days)

    @cached_property
    def truth(self) -> pl.DataFrame:
        """`truth/demand` of all days. No feature may read it. Memory grows with the days."""
        return self._whole[Feed.TRUTH]

    @cached_property
    def purchase_orders(self) -> pl.DataFrame:
        """`reference/purchase_orders` as known at the end of the last date. Memory grows with the days."""
        return self._whole[Feed.ORDERS].sort("purchase_order_id")

    def history_batches(self) -> Iterator[HistoryBatch]:
        """Yield the days before today, month by month."""
        stretches = [Stretch(first, after, EVENT_FEEDS) for first, after in self._months()]
        return (self._batch(part) for part in self._engine().run_whole(stretches, self.workers))

    def feeds(self) -> Iterator[Part]:
        """Yield all that the lake holds of all days, in bounded memory, piece by piece.

        Rows come by block of days, in that by cluster of stores, in that by business date, store and time. Events end
        with the day before today; orders and the truth go on to its end. The state before today is kept, so that today
        comes cheaply afterwards.
        """
        today = self.scenario.days - 1
        starts = sorted({self.first_day, *range(self.first_day // BLOCK_DAYS * BLOCK_DAYS, today, BLOCK_DAYS)})
        bounds = [*(day for day in starts if self.first_day <= day < today), today]
        stretches = [Stretch(first, after, tuple(Feed), keep_state=after == today) for first, after in pairwise(bounds)]
        stretches.append(Stretch(today, today + 1, (Feed.ORDERS, Feed.TRUTH)))
        before_today: list[StockState] = []
        for part in self._engine().run(stretches, self.workers):
            before_today += part.states
            yield part
        if before_today:
            self._before_today = before_today

    def approach(self, on: date) -> Iterator[date]:
        """Live through the days before a date, and yield each when it is over; the date itself comes cheaply then.

        Raises:
            ValueError: the date is not one of the scenario's, or lies before a saved state that was gone on from.
        """
        day = self._number(on)
        if self._latest is not None and self._latest[0] == day:
            return
        course = self._course_towards(day)
        while course.day < day:
            lived = course.day
            for _ in course.run([Stretch(lived, lived + 1, ())]):
                pass
            yield self.scenario.first_date + timedelta(days=lived)

    def day_events(self, on: date) -> HistoryBatch:
        """Return the events of one date. Dates that are asked for one after the other come cheaply.

        Raises:
            ValueError: the date is not one of the scenario's, or lies before a saved state that was gone on from.
        """
        day = self._number(on)
        if self._latest is None or self._latest[0] != day:
            for _ in self.approach(on):
                pass
            (part,) = self._course_towards(day).run_whole([Stretch(day, day + 1, EVENT_FEEDS)])
            self._latest = (day, self._batch(part))
        return self._latest[1]

    def today_events(self) -> HistoryBatch:
        """Return the events of the last date."""
        return self.day_events(self.scenario.last_date)

    def today_messages(self) -> DayMessages:
        """Return the messages of the last date by topic, as sent: repeated and broken ones among them."""
        today = self.today_events()
        in_order = [today.events(topic).sort("occurred_at", topic.schema.id_field) for topic in EVENT_TOPICS]
        return draft_day(self.scenario, EVENT_TOPICS, in_order)

    def save_state(self, path: Path) -> None:
        """Write the state before the last date: live tills go on from there, and so do scenarios with more days.

        Costs next to nothing after `feeds`; otherwise the days before are simulated.

        Raises:
            OSError: the file can't be written.
        """
        if self._before_today is None:
            engine = self._engine()
            stretch = Stretch(engine.day, self.scenario.days - 1, (), keep_state=True)
            (part,) = engine.run_whole([stretch], self.workers)
            self._before_today = part.states
        save_states(path, self.scenario, self._before_today)

    @cached_property
    def _whole(self) -> dict[Feed, pl.DataFrame]:
        feeds = (Feed.ORDERS, Feed.TRUTH)
        months = [*self._months(), (self.scenario.days - 1, self.scenario.days)]
        stretches = [
            Stretch(first, after, feeds, keep_state=after == self.scenario.days - 1) for first, after in months
        ]
        frames: dict[Feed, list[pl.DataFrame]] = {feed: [] for feed in feeds}
        for part in self._engine().run_whole(stretches, self.workers):
            if part.states:
                self._before_today = part.states
            for feed in feeds:
                frames[feed].append(part.frames[feed])
        return {feed: pl.concat(parts) for feed, parts in frames.items()}

    def _engine(self, states: list[StockState] | None = None) -> Engine:
        return Engine(self.scenario, self.world, self.demand, self._start if states is None else states)

    def _number(self, on: date) -> int:
        """Return a date's day, counted from the scenario's first date."""
        day = (on - self.scenario.first_date).days
        if not self.first_day <= day < self.scenario.days:
            first = self.scenario.first_date + timedelta(days=self.first_day)
            raise ValueError(f"{on} can't be simulated: the simulation has {first} to {self.scenario.last_date}")
        return day

    def _course_towards(self, day: int) -> Engine:
        """Return the engine that is nearest to a day, and not past it."""
        course = self._course
        kept = self._before_today if day == self.scenario.days - 1 else None
        if course is None or course.day > day or (kept is not None and course.day < day):
            course = self._course = self._engine(kept)
        return course

    def _months(self) -> list[tuple[int, int]]:
        """Return the first day of each month of the history and the day after its last, counted from the first date."""
        first, today = self.first_day, self.scenario.days - 1
        dates = {day: self.scenario.first_date + timedelta(days=day) for day in range(first, today)}
        starts = [day for day, at in dates.items() if day == first or at.day == 1]
        return list(pairwise([*starts, today]))

    def _batch(self, part: Part) -> HistoryBatch:
        first_date = self.scenario.first_date
        return HistoryBatch(
            first_date=first_date + timedelta(days=part.stretch.first),
            last_date=first_date + timedelta(days=part.stretch.after - 1),
            sales_transactions=part.frames[Feed.SALES],
            inventory_updates=part.frames[Feed.INVENTORY],
            pos_events=part.frames[Feed.POS],
        )


def simulate(scenario: Scenario, *, workers: int = 1, state: Path | None = None) -> Simulation:
    """Return a simulated retailer. Its days come about when they are asked for.

    Args:
        scenario: what is asked for.
        workers: processes that simulate clusters of stores. Their number never changes the result.
        state: a file that `Simulation.save_state` wrote for the same scenario, or for one with fewer days: only what
            comes after is simulated, and is what one long run would have given.

    Raises:
        StateError: the state can't be used: it is damaged, or of another scenario, or lies behind the last date.
    """
    if state is None:
        return Simulation(scenario, workers=workers)
    states = load_states(state, scenario)
    if states[0].day >= scenario.days:
        raise StateError(
            f"{state} goes on after {states[0].day} days, but the scenario has no more than {scenario.days}: leave the "
            "state out, or ask for more days"
        )
    return Simulation(scenario, states, workers)
