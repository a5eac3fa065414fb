"""The recipe of the demand model: everything that decides what training makes of the same rows.

Belongs here: the parameters, and which origins a model learns from and is judged on. Does not belong here: training
(`training`), and the inputs (`forecasting`).
"""

import json
from dataclasses import asdict, dataclass, fields, replace
from datetime import date, timedelta
from typing import Final

_WEEK: Final = 7
#: What XGBoost calls the distributions that a mean of counts can be fitted with; both have a log link.
OBJECTIVES: Final = ("count:poisson", "reg:tweedie")


@dataclass(frozen=True)
class Recipe:
    """How a model is trained and judged.

    Attributes:
        objective: one of `OBJECTIVES`.
        tweedie_power: variance power of Tweedie's distribution; Poisson has no use for it.
        rounds: trees.
        max_depth: depth of a tree.
        learning_rate: share of each tree that is taken.
        min_child_weight: least weight of a leaf; with a log link about the units that it must have seen.
        subsample: share of rows that each tree sees.
        colsample: share of inputs that each tree sees.
        training_days: origins lie within so many days before the last day that is known.
        origin_stride_days: days between two origins; neighbouring days say nearly the same.
        max_rows: about so many rows at the most; for more series the origins lie further apart (`for_series`).
        judged_origins: weekly origins at the end, forecast by a model that has not seen them: errors of forecasts are
            learnt from those.
        seed: of all sampling.
    """

    objective: str = "count:poisson"
    tweedie_power: float = 1.3
    rounds: int = 150
    max_depth: int = 6
    learning_rate: float = 0.1
    min_child_weight: float = 20.0
    subsample: float = 0.8
    colsample: float = 0.8
    training_days: int = 364
    origin_stride_days: int = 3
    max_rows: int = 6_000_000
    judged_origins: int = 4
    seed: int = 7

    def __post_init__(self) -> None:
        """Refuse what can't be trained.

        Raises:
            ValueError: an objective that isn't one of `OBJECTIVES`, or a count below one.
        """
        if self.objective not in OBJECTIVES:
            raise ValueError(f"objective {self.objective} is none of {', '.join(OBJECTIVES)}")
        for name in ("rounds", "max_depth", "training_days", "origin_stride_days", "max_rows", "judged_origins"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def to_json(self) -> str:
        """Return the recipe as text that `from_json` reads back."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Recipe":
        """Read a recipe; what it doesn't say is as by default.

        Raises:
            ValueError: no recipe, or one with a parameter that is unknown here.
        """
        try:
            said = json.loads(text)
            unknown = sorted(set(said) - {field.name for field in fields(cls)})
        except (TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"not a recipe: {error}") from error
        if unknown:
            raise ValueError(f"a recipe has no {', '.join(unknown)}")
        return cls(**said)

    def learns_from(self, origin: date) -> bool:
        """Return whether an origin is one that models learn from.

        By the calendar and not by the last day: models that are trained on different days share their rows.
        """
        return origin.toordinal() % self.origin_stride_days == 0

    def for_series(self, series: int, horizon: int) -> "Recipe":
        """Return the recipe with origins far enough apart for so many series.

        Never whole weeks apart: a model would know one weekday alone as its origin.

        Args:
            series: that have features on a day.
            horizon: days ahead.
        """
        stride = self.origin_stride_days
        while series * horizon * self.training_days / stride > self.max_rows or stride % _WEEK == 0:
            stride += 1
        return replace(self, origin_stride_days=stride)

    def training_origins(self, first: date, last: date) -> list[date]:
        """Return the origins that a model learns from that knows sales up to `last`, oldest first.

        The last days before `last` are among them: of those, the nearer days ahead are known.

        Args:
            first: first day that has features.
            last: last day whose sales are known.
        """
        earliest = max(first, last - timedelta(days=self.training_days))
        days = (last - timedelta(days=1) - earliest).days + 1
        return [day for number in range(max(days, 0)) if self.learns_from(day := earliest + timedelta(days=number))]

    def judged_on(self, last: date, horizon: int) -> list[date]:
        """Return the origins whose forecasts tell how far forecasts err, oldest first; all their targets are known.

        Args:
            last: last day whose sales are known.
            horizon: days ahead.
        """
        return [last - timedelta(days=horizon + _WEEK * back) for back in reversed(range(self.judged_origins))]
