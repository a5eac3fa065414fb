"""Small files of sales, and an import of them into a lake of its own."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from retail_assets.contracts.tables import RAW_IMPORTED_SALES, Table
from retail_assets.imports.common import Outcome, Request
from retail_assets.imports.reference import Place
from retail_assets.imports.sales import import_sales
from retail_assets.imports.writing import Lake

TODAY = date(2025, 6, 30)
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file of some lines or bytes, and return where it lies."""

    def write_file(*lines: str | bytes, name: str = "sales.csv") -> Path:
        path = tmp_path / name
        if lines and isinstance(lines[0], bytes):
            path.write_bytes(b"".join(line for line in lines if isinstance(line, bytes)))
        else:
            path.write_text("".join(f"{line}\n" for line in lines if isinstance(line, str)), encoding="utf-8")
        return path

    return write_file


class Shop:
    """A lake, and the import into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uri = (folder / "lake").as_uri()
        self.request = Request(
            files=[], place=Place("Europe/Berlin", "DE"), today=TODAY, rejected_file=folder / "rejected.csv"
        )

    def take(self, *sales: Path, **changes: object) -> Outcome:
        asked = replace(self.request, files=sales, **changes)  # type: ignore[arg-type]
        return import_sales(asked, Lake(self.uri), self.folder / "work")

    def table(self, table: Table = RAW_IMPORTED_SALES) -> pl.DataFrame:
        return pl.read_delta(f"{self.uri}/{table.path}").sort(table.grain)

    def is_empty(self) -> bool:
        return not list((self.folder / "lake").rglob("_delta_log/*"))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)
