"""Nothing that a retailer would run may read the truth."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
#: Who may know of the truth: who writes it, and who judges by it. The report on how real the data are may not.
MAY_KNOW = ("retail_assets/simulator", "retail_assets/bench")
MAY_NOT_KNOW = "retail_assets/simulator/realism"
TRUTH = re.compile(r"(^|[^a-z])truth([^a-z]|$)", re.IGNORECASE)


def names_and_texts(path: Path) -> set[str]:
    """Return every name, attribute and text of a module but its docstrings' and comments' words."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.add(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in prose:
            found.add(node.value)
    return found


def test_no_other_module_names_the_truth() -> None:
    modules = [path for part in ("retail_assets", "spark", "infra") for path in (ROOT / part).rglob("*.py")]
    judged = [
        (path, name)
        for path in modules
        if (name := str(path.relative_to(ROOT))).startswith(MAY_NOT_KNOW) or not name.startswith(MAY_KNOW)
    ]
    assert len(judged) > 80
    assert not {name for path, name in judged if any(TRUTH.search(found) for found in names_and_texts(path))}


@pytest.mark.parametrize(
    "offence",
    [
        'pl.read_parquet(f"{root}/truth/demand")',
        '"/".join([lake, "truth", table])',
        "simulation.truth",
        "from retail_assets.simulator.events import TRUTH_DEMAND",
        'Table(layer="truth", name="demand")',
    ],
)
def test_whatever_way_the_truth_is_named_it_is_found(tmp_path: Path, offence: str) -> None:
    (tmp_path / "module.py").write_text(f"def look():\n    {offence}\n")
    assert any(TRUTH.search(found) for found in names_and_texts(tmp_path / "module.py"))


def test_the_truth_is_not_in_the_contract() -> None:
    from retail_assets.contracts import tables

    assert not [table for table in vars(tables).values() if getattr(table, "layer", "") == "truth"]
