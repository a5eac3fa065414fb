"""Which stores are simulated together.

Belongs here: the split of a scenario's stores into clusters. Does not belong here: who simulates which cluster, which
must never matter (`engine`).

Stores of one cluster share deliveries by transfer, and their numbers are drawn together. A cluster is therefore a fact
of the scenario: it must not depend on how many processors there are, nor on how many days.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from retail_assets.simulator.scenario import Scenario

#: Enough that numpy works rather than prepares to work, few enough that a day's arrays stay in the processor's cache.
_SERIES_PER_CLUSTER: Final = 8_000
_LEAST_STORES: Final = 2


@dataclass(frozen=True)
class Cluster:
    """Stores that are simulated together.

    Attributes:
        number: counted from 0.
        first_store: place of the first one in `world.stores`.
        stores: how many, that one and those behind it.
        products: how many products each store may carry.
    """

    number: int
    first_store: int
    stores: int
    products: int

    @property
    def series(self) -> int:
        """How many series: store by store, in the order of `world.products`."""
        return self.stores * self.products

    @property
    def store_numbers(self) -> range:
        """The places of its stores in `world.stores`."""
        return range(self.first_store, self.first_store + self.stores)


def clusters_of(scenario: Scenario) -> tuple[Cluster, ...]:
    """Split the stores into clusters of neighbours in number, as equal in size as can be."""
    wanted = max(_LEAST_STORES, round(_SERIES_PER_CLUSTER / scenario.products))
    count = max(1, min(round(scenario.stores / wanted), scenario.stores // _LEAST_STORES))
    bounds = [scenario.stores * number // count for number in range(count + 1)]
    return tuple(
        Cluster(number, first, after - first, scenario.products)
        for number, (first, after) in enumerate(pairwise(bounds))
    )
