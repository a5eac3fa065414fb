"""The direction of imports, read from the code itself."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: What every part of the simulator may use: the scenario, and drawing from it.
SIMULATORS_OWN = {
    f"retail_assets.simulator.{module}"
    for module in ("clusters", "limits", "noise", "randomness", "runs", "scenario", "scenario_file")
}
#: What each part may import of the project; itself is always allowed.
ALLOWED = {
    "retail_assets/contracts": {"retail_assets.contracts"},
    "retail_assets/simulator": {"retail_assets.contracts", "retail_assets.delta_log", "retail_assets.chart_style"},
    "retail_assets/simulator/world": {"retail_assets.contracts", *SIMULATORS_OWN},
    "retail_assets/simulator/demand": {"retail_assets.contracts", "retail_assets.simulator.world", *SIMULATORS_OWN},
    "retail_assets/simulator/stock": {
        "retail_assets.contracts",
        "retail_assets.simulator.world",
        "retail_assets.simulator.demand",
        *SIMULATORS_OWN,
    },
    "retail_assets/simulator/tills": {"retail_assets.contracts", *SIMULATORS_OWN},
    # As an outsider: the contracts are all that it knows of data.
    "retail_assets/simulator/realism": {"retail_assets.contracts", "retail_assets.chart_style"},
    "retail_assets/domain": {"retail_assets.contracts"},
    # Bulk rows of a raw table are written as a simulated history writes them.
    "retail_assets/imports": {
        "retail_assets.contracts",
        "retail_assets.delta_log",
        "retail_assets.domain",
        "retail_assets.simulator.bulk_rows",
        "retail_assets.simulator.delta_files",
    },
    "retail_assets/resources": {
        "retail_assets.contracts",
        "retail_assets.settings",
        "retail_assets.paths",
        "retail_local.class_data",
        "retail_local.errors",
        "retail_local.files",
        "retail_local.jars",
        "retail_local.java",
    },
    "retail_assets/io_managers": {
        "retail_assets.contracts",
        "retail_assets.delta_log",
        "retail_assets.resources",
        "retail_assets.settings",
    },
    "retail_assets/training": {
        "retail_assets.contracts",
        "retail_assets.domain",
        "retail_assets.io_managers",
        "retail_assets.resources",
    },
    "retail_assets/assets": {
        "retail_assets.training",
        "retail_assets.contracts",
        "retail_assets.domain",
        "retail_assets.resources",
        "retail_assets.io_managers",
        "retail_assets.partitions",
        "retail_assets.settings",
    },
    "spark/retail_streaming": {
        "retail_assets.contracts",
        "retail_assets.domain",
        "retail_assets.settings",
        "retail_local.class_data",
        "retail_local.jars",
        "retail_local.java",
        "retail_local.errors",
    },
    "infra/local/retail_local": {"retail_assets.settings", "retail_assets.paths", "retail_assets.contracts"},
}


def imported_modules(path: Path) -> set[str]:
    """Return the modules that a file imports, functions' own imports among them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module in {"retail_assets", "retail_local"}:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("part", sorted(ALLOWED))
def test_a_part_imports_only_what_lies_before_it(part: str) -> None:
    own = part.removeprefix("spark/").removeprefix("infra/local/").replace("/", ".")
    allowed = ALLOWED[part] | {own}
    wrong = {
        f"{path.relative_to(ROOT)}: {module}"
        for path in sorted((ROOT / part).rglob("*.py"))
        for module in imported_modules(path)
        if module.split(".")[0] in {"retail_assets", "retail_local", "retail_streaming"}
        and not any(module == name or module.startswith(f"{name}.") for name in allowed)
    }
    assert not wrong


@pytest.mark.parametrize(
    "part",
    ["retail_assets/domain", "retail_assets/contracts", "retail_assets/simulator", "retail_assets/imports"],
)
def test_what_the_project_knows_does_not_know_dagster(part: str) -> None:
    assert not [
        path for path in (ROOT / part).rglob("*.py") if any(m.startswith("dagster") for m in imported_modules(path))
    ]


def test_only_the_settings_read_the_environment() -> None:
    readers = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "retail_assets").rglob("*.py")
        if "os.environ" in path.read_text(encoding="utf-8") or "os.getenv" in path.read_text(encoding="utf-8")
    }
    # Spark's resource writes two variables for the processes that it starts.
    assert readers <= {"retail_assets/settings.py", "retail_assets/resources/spark.py"}


def test_the_code_location_loads_without_starting_or_connecting_to_anything() -> None:
    program = (
        "import sys; from retail_assets.definitions import defs; defs.get_repository_def(); "
        "from pyspark import SparkContext; assert SparkContext._gateway is None; "
        "assert 'xgboost' not in sys.modules and 'sklearn' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_workers_of_spark_import_starts_no_dagster() -> None:
    modules = [
        "retail_assets.io_managers.day_files",
        *(f"retail_assets.domain.{path.stem}" for path in (ROOT / "retail_assets/domain").glob("[!_]*.py")),
    ]
    program = f"import sys, {', '.join(modules)}; assert not [name for name in sys.modules if 'dagster' in name]"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
