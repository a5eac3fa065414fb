"""What the files of an import may hold, and which of a file's columns is which.

Belongs here: the names, kinds and limits of the fields, and the matching of a header to them. Does not belong here:
reading values (`dates`, `numbers`), and the lake's columns (`contracts`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import StrEnum
from typing import Final

from retail_assets.contracts.events import SALES_TRANSACTION
from retail_assets.contracts.types import DecimalType, ListType
from retail_assets.imports.errors import ImportRefusedError


class Kind(StrEnum):
    """How the values of a field are read."""

    TEXT = "text"
    DATE = "date"
    TIME = "time"
    NUMBER = "number"
    FLAG = "yes or no"


@dataclass(frozen=True)
class Field:
    """One field of a file.

    Attributes:
        name: what its column is called.
        column: the lake's column that it becomes.
        kind: how its values are read.
        required: whether a file must have it, in every row.
        minimum: the least value.
        maximum: the greatest value; beyond it lies what the lake's column can't hold.
        places: digits behind the point that are kept.
        hints: what other systems call it. They are only suggested: `amount` may be units or money.
        instead: what else to say where no column holds it.
    """

    name: str
    column: str
    kind: Kind = Kind.TEXT
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    places: int | None = None
    hints: tuple[str, ...] = ()
    instead: str = ""


@dataclass(frozen=True)
class FileKind:
    """One kind of file.

    Attributes:
        name: what the command calls it.
        fields: what it may hold, in the order in which it is shown.
        key: the fields that identify a row.
        main: whether a command is about such files. What the user says of values and columns without naming a kind is
            said of them.
    """

    name: str
    fields: tuple[Field, ...]
    key: tuple[str, ...]
    main: bool = False

    def field(self, name: str) -> Field:
        """Return one field.

        Raises:
            KeyError: the file has no such field.
        """
        return {field.name: field for field in self.fields}[name]


_UNIT_PLACES: Final = 3
_MONEY_PLACES: Final = 2
#: What decimal(12, 3) and decimal(12, 2) can hold.
_MOST_UNITS: Final = 999_999_999.999
_MOST_MONEY: Final = 9_999_999_999.99
_MOST_WHOLE: Final = 2_000_000_000.0

_DATE: Final = Field("date", "business_date", Kind.DATE, required=True, hints=("day", "sales_date", "datum", "ds"))
_STORE: Final = Field("store_id", "store_id", required=True, hints=("store", "shop", "branch", "location", "site"))
_PRODUCT: Final = Field(
    "product_id",
    "product_id",
    required=True,
    hints=("sku", "item", "article", "product", "ean", "stock_code"),
)


def _units(name: str, *, required: bool = False, minimum: float | None = None, hints: tuple[str, ...] = ()) -> Field:
    return Field(name, name, Kind.NUMBER, required, minimum, _MOST_UNITS, _UNIT_PLACES, hints)


def _money(name: str, column: str, *, minimum: float | None = 0, hints: tuple[str, ...] = ()) -> Field:
    return Field(name, column, Kind.NUMBER, minimum=minimum, maximum=_MOST_MONEY, places=_MONEY_PLACES, hints=hints)


def _whole(name: str, minimum: float, maximum: float = _MOST_WHOLE, hints: tuple[str, ...] = ()) -> Field:
    return Field(name, name, Kind.NUMBER, minimum=minimum, maximum=maximum, places=0, hints=hints)


def _of_line(name: str, column: str, *, required: bool = False, signed: bool = False, hints: tuple[str, ...]) -> Field:
    """Return a number of a basket's line, within the limits of the contract."""
    limits = next(field.type for field in SALES_TRANSACTION.columns if field.name == "lines")
    assert isinstance(limits, ListType)  # noqa: S101 - by the schema file
    limit = next(field for field in limits.fields if field.name == column)
    assert isinstance(limit.type, DecimalType)  # noqa: S101
    minimum = None if signed else limit.minimum
    return Field(name, column, Kind.NUMBER, required, minimum, limit.maximum, limit.type.scale, hints)


SALES: Final = FileKind(
    "sales",
    (
        _DATE,
        _STORE,
        _PRODUCT,
        _units("units", required=True, minimum=0, hints=("quantity", "qty", "qty_sold", "sales", "sold")),
        _money("price", "unit_price", hints=("sell_price", "selling_price")),
        Field("promotion", "on_promotion", Kind.FLAG, hints=("promo", "onpromotion", "is_promo")),
        _units("on_hand", hints=("stock", "inventory", "stock_on_hand")),
        Field("stockout_hours", "stockout_hours", Kind.NUMBER, minimum=0, maximum=24),
        _money("revenue", "revenue", minimum=None, hints=("turnover", "sales_value", "net_sales")),
    ),
    ("store_id", "product_id", "date"),
    main=True,
)

TRANSACTIONS: Final = FileKind(
    "transactions",
    (
        Field(
            "transaction_id",
            "transaction_id",
            required=True,
            hints=("transaction", "invoice", "receipt", "basket", "ticket", "order", "transaction_no", "invoice_no"),
        ),
        Field(
            "occurred_at",
            "occurred_at",
            Kind.TIME,
            required=True,
            hints=("timestamp", "datetime", "date_time", "invoice_date", "time", "sold_at", "date", "created_at"),
        ),
        replace(_STORE, instead="--store ID if all lines are of one store"),
        _PRODUCT,
        _of_line("quantity", "quantity", required=True, signed=True, hints=("qty", "units", "amount", "menge")),
        _of_line("unit_price", "unit_price", required=True, hints=("price", "sell_price", "selling_price")),
        _whole("line_no", 0, hints=("line", "position", "pos")),
        Field("currency", "currency", hints=("currency_code",)),
        Field("payment_method", "payment_method", hints=("payment", "tender", "paid_by")),
        Field("register_id", "register_id", hints=("register", "till", "terminal", "pos_id")),
        Field("cashier_id", "cashier_id", hints=("cashier", "operator", "clerk")),
        _of_line("discount", "discount", hints=("rebate",)),
        Field("promotion_id", "promotion_id", hints=("promotion", "promo", "campaign")),
        Field("kind", "kind", hints=("type", "transaction_type")),
    ),
    ("store_id", "transaction_id", "line_no"),
    main=True,
)

PRODUCTS: Final = FileKind(
    "products",
    (
        _PRODUCT,
        *(Field(name, name) for name in ("name", "department", "category", "subcategory", "brand")),
        _money("cost", "unit_cost", hints=("purchase_price",)),
        _money("price", "list_price", hints=("retail_price",)),
        _whole("pack_size", 1),
        _whole("shelf_life_days", 0),
    ),
    ("product_id",),
)

STORES: Final = FileKind(
    "stores",
    (
        _STORE,
        *(Field(name, name) for name in ("name", "region", "city", "format", "time_zone")),
        _whole("opens_at_hour", 0, 23),
        _whole("closes_at_hour", 1, 24),
    ),
    ("store_id",),
)

EVENTS: Final = FileKind(
    "events",
    (
        Field("date", "date", Kind.DATE, required=True, hints=_DATE.hints),
        Field("name", "name", required=True, hints=("event", "event_name", "description")),
        Field("kind", "kind", hints=("type", "event_type")),
        Field("store_id", "store_id"),
        Field("region", "region"),
    ),
    ("date", "name", "store_id", "region"),
)

#: What goes with a history, of whatever kind.
MASTER_KINDS: Final = (PRODUCTS, STORES, EVENTS)


def parse_mapping(texts: Sequence[str], main: FileKind) -> dict[str, dict[str, str]]:
    """Return, by kind of file, which of the file's columns holds a field.

    Args:
        texts: `field=column` for the files of the main kind, `kind.field=column` for another kind of file.
        main: the kind of file that the command is about.

    Raises:
        ImportRefusedError: one has another form, or names no field.
    """
    found: dict[str, dict[str, str]] = {}
    kinds = {kind.name: kind for kind in (main, *MASTER_KINDS)}
    for text in texts:
        left, sign, column = text.partition("=")
        kind_name, dot, name = left.strip().rpartition(".")
        kind = kinds.get(kind_name if dot else main.name)
        if not sign or not column.strip() or kind is None:
            raise ImportRefusedError(
                f"--map {text} should look like product_id=sku, or products.name=title for another file than the "
                f"{main.name}"
            )
        known = [field.name for field in kind.fields]
        if name not in known:
            raise ImportRefusedError(f"--map {text}: {kind.name} have no {name}, only {', '.join(known)}")
        if name in found.setdefault(kind.name, {}):
            raise ImportRefusedError(f"--map names {left.strip()} twice")
        found[kind.name][name] = column.strip()
    return found


def match_columns(kind: FileKind, header: Sequence[str], mapping: Mapping[str, str], file: str) -> dict[str, str]:
    """Return the file's column of each field that the file has.

    A column matches by the field's name or the lake's name of it, whatever its case and spaces; `mapping` goes before.

    Args:
        kind: what the file should be.
        header: the file's columns.
        mapping: column by field, as the user says.
        file: the file's name, for errors.

    Raises:
        ImportRefusedError: a field that is needed has no column, or a field has two.
    """
    listed = ", ".join(header)
    by_normal = {_normal(name): name for name in header}
    matched: dict[str, str] = {}
    for name, column in mapping.items():
        if column not in header and _normal(column) not in by_normal:
            raise ImportRefusedError(f"{file} has no column {column!r} as --map {name}={column} says; it has: {listed}")
        matched[name] = column if column in header else by_normal[_normal(column)]
    taken = set(matched.values())
    for field in kind.fields:
        if field.name in matched:
            continue
        found = [
            by_normal[name]
            for name in dict.fromkeys((field.name, field.column))
            if name in by_normal and by_normal[name] not in taken
        ]
        if len(found) > 1:
            raise ImportRefusedError(
                f"{file}: the columns {found[0]!r} and {found[1]!r} both mean {field.name}; "
                f"choose one with --map {_prefix(kind)}{field.name}=COLUMN"
            )
        if found:
            matched[field.name] = found[0]
    twice = sorted({name for name in matched.values() if list(header).count(name) > 1})
    if twice:
        raise ImportRefusedError(f"{file} has more than one column {twice[0]!r}: give each a name of its own")
    missing = [field for field in kind.fields if field.required and field.name not in matched]
    if missing:
        options = " ".join(
            f"--map {_prefix(kind)}{field.name}={_likely(field, [n for n in header if n not in matched.values()])}"
            for field in missing
        )
        instead = "".join(f", or {field.instead}" for field in missing if field.instead)
        raise ImportRefusedError(
            f"{file} has no column {' and no column '.join(repr(field.name) for field in missing)}; its first line "
            f"names: {_short(listed)}. Say which column it is, such as {options}{instead}"
        )
    return {field.name: matched[field.name] for field in kind.fields if field.name in matched}


def _prefix(kind: FileKind) -> str:
    return "" if kind.main else f"{kind.name}."


def _normal(name: str) -> str:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[\s\-_.]+", "_", spaced.lower()).strip("_")


def _likely(field: Field, header: Sequence[str]) -> str:
    """Return the column that is most likely meant, ready to be typed."""
    by_normal = {_normal(name): name for name in header}
    for wanted in (field.name, *field.hints):
        near = get_close_matches(wanted, list(by_normal), n=1, cutoff=0.75)
        if near:
            column = by_normal[near[0]]
            return f'"{column}"' if re.search(r"\s", column) else column
    return "COLUMN"


def _short(listed: str, most: int = 300) -> str:
    return listed if len(listed) <= most else f"{listed[:most]}…"
