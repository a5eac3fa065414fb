"""One simulated retailer from end to end: the world, the truth, the history and today.

Belongs here: putting the parts together. Does not belong here: writing to a lake (`lake`) or a broker (`tills`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

import polars as pl

from retail_assets.contracts.topics import EVENT_TOPICS, INVENTORY_UPDATES, POS_EVENTS, SALES_TRANSACTIONS, Topic
from retail_assets.simulator.demand import draw_demand, truth_frame
from retail_assets.simulator.events import Reporter
from retail_assets.simulator.ledger import Ledger, keep_books
from retail_assets.simulator.messages import DayMessages, draft_day
from retail_assets.simulator.scenario import Scenario
from retail_assets.simulator.world import World, build_world


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


@dataclass(frozen=True)
class Simulation:
    """A retailer whose days have all been lived through.

    Attributes:
        scenario: what was asked for.
        world: the reference frames.
        truth: uncensored demand; store_id, product_id, business_date, demand. No feature may read it.
        purchase_orders: `reference/purchase_orders` as known at the end of the last date.
        ledger: every movement, in compact form.
        reporter: turns stretches of the ledger into events.
    """

    scenario: Scenario
    world: World
    truth: pl.DataFrame
    purchase_orders: pl.DataFrame
    ledger: Ledger
    reporter: Reporter

    def history_batches(self) -> Iterator[HistoryBatch]:
        """Yield the days before today, month by month; frames are made when they are asked for."""
        return (self._batch(first, after) for first, after in self._months())

    def history_events(self, topic: Topic) -> Iterator[pl.DataFrame]:
        """Yield the events of one topic before today, month by month."""
        return (self._events(topic, first, after) for first, after in self._months())

    def today_events(self) -> HistoryBatch:
        """Return the events of the last date."""
        return self._batch(self.scenario.days - 1, self.scenario.days)

    def today_messages(self) -> DayMessages:
        """Return the messages of the last date by topic, as sent: repeated and broken ones among them."""
        today = self.today_events()
        in_order = [today.events(topic).sort("occurred_at", topic.schema.id_field) for topic in EVENT_TOPICS]
        return draft_day(self.scenario, EVENT_TOPICS, in_order)

    def _months(self) -> list[tuple[int, int]]:
        """Return the first day of each month of the history and the day after its last, counted from the first date."""
        dates = self.scenario.dates[:-1]
        starts = [day for day, at in enumerate(dates) if day == 0 or at.day == 1]
        return list(pairwise([*starts, len(dates)]))

    def _events(self, topic: Topic, first: int, after: int) -> pl.DataFrame:
        make = {
            SALES_TRANSACTIONS.name: self.reporter.sales_transactions,
            INVENTORY_UPDATES.name: self.reporter.inventory_updates,
            POS_EVENTS.name: self.reporter.pos_events,
        }[topic.name]
        return make(first, after)

    def _batch(self, first: int, after: int) -> HistoryBatch:
        dates = self.scenario.dates
        return HistoryBatch(
            first_date=dates[first],
            last_date=dates[after - 1],
            sales_transactions=self._events(SALES_TRANSACTIONS, first, after),
            inventory_updates=self._events(INVENTORY_UPDATES, first, after),
            pos_events=self._events(POS_EVENTS, first, after),
        )


def simulate(scenario: Scenario) -> Simulation:
    """Live through every day of a scenario.

    Takes seconds and some hundred megabytes for a million sale lines; both grow in proportion.
    """
    world = build_world(scenario)
    demand = draw_demand(scenario, world)
    ledger = keep_books(scenario, world, demand)
    reporter = Reporter(scenario, world, ledger)
    return Simulation(
        scenario=scenario,
        world=world,
        truth=truth_frame(scenario, world, demand),
        purchase_orders=reporter.purchase_orders(),
        ledger=ledger,
        reporter=reporter,
    )
