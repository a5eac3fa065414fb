"""What every benchmark's report has in common: the machine it ran on, and how it is written.

Does not belong here: the figures of one benchmark.
"""

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from retail_assets.settings import Settings
from retail_local.java import find_java


@dataclass(frozen=True)
class Machine:
    """Where the figures come from; without it they mean nothing.

    Attributes:
        system: operating system and processor architecture.
        cores: logical processors.
        memory_gb: main memory.
        python: version of the interpreter.
        java: what `java -version` says of itself.
        load_before: processes that wanted a core, on average, in the minute before; on a quiet machine close to 0.
    """

    system: str
    cores: int
    memory_gb: float
    python: str
    java: str
    load_before: float


def describe_machine(settings: Settings) -> Machine:
    """Describe the machine that this process runs on.

    Args:
        settings: name the Java that Spark runs on.

    Raises:
        JavaError: there is no Java that Spark could run on.
    """
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        cores=psutil.cpu_count() or 1,
        memory_gb=round(psutil.virtual_memory().total / 1e9, 1),
        python=platform.python_version(),
        java=find_java(settings).text,
        load_before=round(psutil.getloadavg()[0], 2),
    )


def publish(settings: Settings, name: str, report: Mapping[str, Any], console: Console, *, as_json: bool) -> None:
    """Write a report into the folder of reports, and say where it is.

    Args:
        settings: say where reports go.
        name: of the file.
        report: plain values.
        console: for what people read.
        as_json: print the report as JSON as well, alone on standard output.
    """
    path = settings.var_dir / "reports" / name
    write_report(path, report)
    if as_json:
        print(json.dumps(report, indent=2))
    console.print(f"Report: {path}")


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write a report as JSON, all or nothing.

    Args:
        path: where to; folders are made.
        report: plain values.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)
