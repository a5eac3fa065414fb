"""What a cluster of stores carries from one day to the next, and its file.

Belongs here: the state, whole: a cluster that is given it back goes on as if nothing had happened. Does not belong
here: what a day does to it (`ledger`), and anything that can be drawn again from the scenario.
"""

import json
import zipfile
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np

from retail_assets.simulator.runs import NOTHING, Bools, Floats, Int32s, Ints
from retail_assets.simulator.scenario import Scenario

#: Counts up whenever the file's arrays change their meaning.
STATE_VERSION: Final = 1
#: How far back the buyer looks.
TRAILING_DAYS: Final = 90


#: What reading a file raises of which a part is missing or a bit has flipped.
_DAMAGED: Final = (
    OSError,
    KeyError,
    ValueError,
    TypeError,
    EOFError,
    RuntimeError,  # for a file that seems to be encrypted, or packed in a way that nobody knows
    zipfile.BadZipFile,
    zlib.error,
)


class StateError(Exception):
    """A saved state can't be used: it is damaged, or of another scenario or version. The message says which."""


@dataclass
class Rows:
    """A little table of whole numbers whose rows come and go."""

    @classmethod
    def none(cls) -> Any:
        """Return a table without rows."""
        return cls(*(NOTHING for _ in fields(cls)))

    def taken(self, rows: Ints | Bools) -> Any:
        """Return some of the rows."""
        return type(self)(*(getattr(self, f.name)[rows] for f in fields(self)))

    def followed_by(self, later: Any) -> Any:
        """Return the rows, and others behind them."""
        return type(self)(*(np.concatenate([getattr(self, f.name), getattr(later, f.name)]) for f in fields(self)))


@dataclass
class InTransit(Rows):
    """Orders on their way.

    Attributes:
        series: what was ordered, and for which store.
        ordered: day of the order.
        number: its place among the orders of its store and day.
        quantity: units ordered.
        delivered: units that come; 0 where nothing does.
        settled: day on which the buyer sees what came of it: of the delivery, or when a missing one is noticed.
    """

    series: Ints
    ordered: Ints
    number: Ints
    quantity: Ints
    delivered: Ints
    settled: Ints


@dataclass
class ComingBack(Rows):
    """Sold lines that customers will bring back.

    Attributes:
        series: what was sold.
        due: day on which it comes back.
        quantity: units that come back.
        price: of one unit, in cents, as it was paid.
        discount: on what comes back, in cents.
        promotion: row of `world.promotions` that gave the discount, else -1.
        sold_day: day of the sale.
        sold_number: its place among the baskets of its store and day.
    """

    series: Ints
    due: Ints
    quantity: Ints
    price: Ints
    discount: Ints
    promotion: Ints
    sold_day: Ints
    sold_number: Ints


@dataclass
class StockState:
    """What a cluster of stores carries from one day to the next.

    Attributes:
        day: the day that comes next, counted from the first date.
        on_hand: stock by the books, by series.
        on_shelf: stock that is really there, by series.
        on_order: units ordered and not settled, by series.
        sold: net units sold by the books, of the last `TRAILING_DAYS` days in turn, days x series.
        sold_lately: the sum of `sold`, by series.
        quiet: units that should have been sold since the last sale, by series.
        ages: units of what spoils, by the days they have left after today, days x fresh series.
        in_transit: orders on their way.
        coming_back: lines that will be brought back.
    """

    day: int
    on_hand: Ints
    on_shelf: Ints
    on_order: Ints
    sold: Int32s
    sold_lately: Ints
    quiet: Floats
    ages: Ints
    in_transit: InTransit
    coming_back: ComingBack

    @classmethod
    def of_the_first_day(cls, series: int, fresh: int, longest_life: int) -> "StockState":
        """Return the state of stores that have nothing yet."""
        return cls(
            day=0,
            on_hand=np.zeros(series, dtype=np.int64),
            on_shelf=np.zeros(series, dtype=np.int64),
            on_order=np.zeros(series, dtype=np.int64),
            sold=np.zeros((TRAILING_DAYS, series), dtype=np.int32),
            sold_lately=np.zeros(series, dtype=np.int64),
            quiet=np.zeros(series),
            ages=np.zeros((longest_life + 1, fresh), dtype=np.int64),
            in_transit=InTransit.none(),
            coming_back=ComingBack.none(),
        )

    def copied(self) -> "StockState":
        """Return a state of its own arrays."""
        return self._from_arrays({name: array.copy() for name, array in self._arrays().items()})

    def _arrays(self) -> dict[str, Any]:
        """Return the arrays by name, those of the little tables as `table.column`."""
        found: dict[str, Any] = {"day": np.array(self.day)}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Rows):
                found |= {f"{field.name}.{column.name}": getattr(value, column.name) for column in fields(value)}
            elif isinstance(value, np.ndarray):
                found[field.name] = value
        return found

    @classmethod
    def _from_arrays(cls, arrays: dict[str, Any]) -> "StockState":
        def rows(table: str, kind: type[Rows]) -> Any:
            return kind(*(arrays[f"{table}.{column.name}"] for column in fields(kind)))

        whole = ("on_hand", "on_shelf", "on_order", "sold", "sold_lately", "quiet", "ages")
        return cls(
            day=int(arrays["day"]),
            **{name: arrays[name] for name in whole},
            in_transit=rows("in_transit", InTransit),
            coming_back=rows("coming_back", ComingBack),
        )


def save_states(path: Path, scenario: Scenario, states: list[StockState]) -> None:
    """Write the states of all clusters at the end of a day. A write that is killed leaves the file of before.

    Args:
        path: the file.
        scenario: whose course it is.
        states: by cluster, all of the same day.
    """
    header = {"version": STATE_VERSION, "scenario": scenario.course_fingerprint, "clusters": len(states)}
    arrays = {f"{n}/{name}": array for n, state in enumerate(states) for name, array in state._arrays().items()}  # noqa: SLF001 - the file is the state's own affair
    partial = path.with_name(path.name + ".part")
    with partial.open("wb") as file:
        np.savez_compressed(file, header=np.array(json.dumps(header)), **arrays)
    partial.replace(path)


def load_states(path: Path, scenario: Scenario) -> list[StockState]:
    """Read the states of all clusters.

    Args:
        path: a file that `save_states` wrote.
        scenario: must be the one it was written for, but for the number of days.

    Raises:
        StateError: no such file, a damaged one, or one of another scenario or version.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(str(file["header"]))
            _check_header(path, header, scenario)
            arrays = {name: file[name] for name in file.files}
        return [
            StockState._from_arrays(  # noqa: SLF001 - the file is the state's own affair
                {name.split("/", 1)[1]: array for name, array in arrays.items() if name.startswith(f"{cluster}/")}
            )
            for cluster in range(header["clusters"])
        ]
    except _DAMAGED as error:
        why = getattr(error, "strerror", None) or "it is something else, or damaged"
        raise StateError(f"{path} holds no saved state ({why}): simulate from the first date again") from error


def _check_header(path: Path, header: dict[str, Any], scenario: Scenario) -> None:
    if header["version"] != STATE_VERSION:
        raise StateError(f"{path} is of version {header['version']}, not {STATE_VERSION}: simulate again")
    if header["scenario"] != scenario.course_fingerprint:
        raise StateError(
            f"{path} was saved for scenario {header['scenario']}, not {scenario.course_fingerprint}: "
            "a state goes with its own scenario and first date"
        )
