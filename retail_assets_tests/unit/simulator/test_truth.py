"""Nothing that a retailer would run may read the truth."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
#: Who may know of the truth: who writes it, and who judges by it.
MAY_KNOW = ("retail_assets/simulator", "retail_assets/bench")


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
    modules = [*(ROOT / "retail_assets").rglob("*.py"), *(ROOT / "spark").rglob("*.py")]
    judged = [m for m in modules if not any(str(m.relative_to(ROOT)).startswith(part) for part in MAY_KNOW)]
    assert len(judged) > 40
    knowing = {
        str(path.relative_to(ROOT))
        for path in judged
        for found in names_and_texts(path)
        if found.startswith("truth/") or found in {"truth", "TRUTH_DEMAND", "TRUTH_ANOMALIES", "TRUTH_TABLES"}
    }
    assert not knowing


def test_the_truth_is_not_in_the_contract() -> None:
    from retail_assets.contracts import tables

    assert not [table for table in vars(tables).values() if getattr(table, "layer", "") == "truth"]
