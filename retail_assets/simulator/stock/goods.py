"""What the stores of a cluster carry, as arrays by series.

Belongs here: facts of the reference tables that the stockroom needs at hand, in numbers. Does not belong here: anything
that changes from day to day (`stock_state`).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from retail_assets.simulator.clusters import Cluster
from retail_assets.simulator.demand.model import DemandModel
from retail_assets.simulator.runs import Bools, Floats, Ints
from retail_assets.simulator.world.world import World


@dataclass(frozen=True)
class Goods:
    """What the stores of a cluster carry, by series.

    Attributes:
        store: the store, counted from 0 within the cluster.
        product: place in `world.products`.
        base: mean units per day without seasons and promotions: what a buyer's plan is made from.
        starts: first day on sale, counted from the first date, never below 0.
        ends: the day after the last.
        price: in cents.
        cost: in cents.
        keeps: whether it never spoils.
        life: days from delivery until it spoils; 0 where it keeps.
        pack: units of one pack.
        minimum_packs: least packs of one order.
        supplier: place in `world.suppliers`.
        substitutes: series that customers take instead, nearest first, series x choices; -1 where there is none.
    """

    store: Ints
    product: Ints
    base: Floats
    starts: Ints
    ends: Ints
    price: Ints
    cost: Ints
    keeps: Bools
    life: Ints
    pack: Ints
    minimum_packs: Ints
    supplier: Ints
    substitutes: Ints

    @classmethod
    def of(cls, world: World, demand: DemandModel, cluster: Cluster) -> "Goods":
        """Read what a cluster's stores carry."""
        rows = slice(cluster.first_store, cluster.first_store + cluster.stores)
        store, product = np.divmod(np.arange(cluster.series), cluster.products)

        def by_series(values: npt.NDArray[np.int64]) -> Ints:
            return np.tile(values, cluster.stores)

        def column(name: str) -> Ints:
            return by_series(world.products[name].to_numpy().astype(np.int64))

        suppliers = {supplier_id: number for number, supplier_id in enumerate(world.suppliers["supplier_id"])}
        supplier = np.array([suppliers[supplier_id] for supplier_id in world.products["supplier_id"]], dtype=np.int64)
        life = column("shelf_life_days")
        near = np.tile(world.substitutes.astype(np.int64), (cluster.stores, 1))
        return cls(
            store=store,
            product=product,
            base=demand.base[rows].ravel(),
            starts=np.maximum(demand.starts[rows].ravel(), 0),
            ends=demand.ends[rows].ravel(),
            price=by_series(cents(world.products["list_price"])),
            cost=by_series(cents(world.products["unit_cost"])),
            keeps=life == 0,
            life=life,
            pack=column("pack_size"),
            minimum_packs=column("minimum_order_packs"),
            supplier=by_series(supplier),
            substitutes=np.where(near < 0, near, near + (store * cluster.products)[:, None]),
        )


def cents(money: pl.Series) -> Ints:
    """Return an exact amount of money as whole cents."""
    return (money.cast(pl.Float64) * 100).round().cast(pl.Int64).to_numpy()
