"""The report of a backtest as people read it: a table for each grain.

Does not belong here: the figures (`domain.judgement`), and charts (`charts`).
"""

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.table import Table

_GRAINS: Final = {
    "product_store_day": "store x product x day",
    "product_store_week": "store x product x whole horizon",
    "category_store_week": "store x category x whole horizon",
}


def show(report: Mapping[str, Any], console: Console) -> None:
    """Print the measures of every model, the best first, and how much better the project's own is than each rival."""
    console.print(
        f"{len(report['origins'])} origins from {report['origins'][0]} to {report['origins'][-1]}, "
        f"{report['horizon_days']} days ahead, {report['series']:,} series"
    )
    for grain, title in _GRAINS.items():
        table = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
        table.add_column("model")
        for name in ("WAPE", "accuracy", "bias", "RMSSE", "pinball", "covers 50 %", "80 %", "95 %", "skill", "rows"):
            table.add_column(name, justify="right")
        measures = report["grains"][grain]
        for model, figures in sorted(measures.items(), key=lambda item: item[1]["wape"] or 0.0):
            table.add_row(
                model,
                _number(figures["wape"]),
                _number(figures["accuracy"]),
                _share(figures["bias"], sign=True),
                _number(figures["rmsse"]),
                _number(figures["pinball"]),
                _share(figures["coverage50"]),
                _share(figures["coverage80"]),
                _share(figures["coverage95"]),
                _skill(report["skill"][grain].get(model)),
                f"{figures['rows']:,}",
            )
        console.print(table)
    console.print(
        "Skill: how much lower the WAPE of retail is than this rival's on the same forecasts, with the 95 % interval "
        "over origins. Slow rivals forecast a sample of the series."
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _share(value: float | None, *, sign: bool = False) -> str:
    if value is None:
        return "-"
    return f"{value:+.1%}" if sign else f"{value:.1%}"


def _skill(skill: Mapping[str, Any] | None) -> str:
    if skill is None or skill["skill"] is None:
        return ""
    if skill["low"] is None:
        return f"{skill['skill']:.1%}"
    return f"{skill['skill']:.1%} ({skill['low']:.1%} to {skill['high']:.1%})"
