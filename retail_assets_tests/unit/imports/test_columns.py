"""Which of a file's columns is which."""

import pytest

from retail_assets.contracts.tables import (
    RAW_IMPORTED_SALES,
    REFERENCE_EVENTS,
    REFERENCE_PRODUCTS,
    REFERENCE_STORES,
    Table,
)
from retail_assets.imports.columns import (
    EVENTS,
    PRODUCTS,
    SALES,
    STORES,
    FileKind,
    match_columns,
    parse_mapping,
)
from retail_assets.imports.errors import ImportRefusedError

NEEDED = ["date", "store_id", "product_id", "units"]


@pytest.mark.parametrize(
    ("kind", "table"),
    [
        (SALES, RAW_IMPORTED_SALES),
        (PRODUCTS, REFERENCE_PRODUCTS),
        (STORES, REFERENCE_STORES),
        (EVENTS, REFERENCE_EVENTS),
    ],
    ids=lambda value: value.name,
)
def test_every_field_has_a_column_in_the_lake(kind: FileKind, table: Table) -> None:
    assert {field.column for field in kind.fields} <= set(table.column_names)


def test_names_match_whatever_their_case_and_spaces_and_by_the_lakes_own_terms() -> None:
    header = [" Business Date", "STORE-ID", "Product_ID", "units", "Unit Price", "weather"]
    assert match_columns(SALES, header, {}, "f.csv") == {
        "date": " Business Date",
        "store_id": "STORE-ID",
        "product_id": "Product_ID",
        "units": "units",
        "price": "Unit Price",
    }


def test_columns_that_nobody_asked_for_may_have_the_same_name_or_none() -> None:
    assert list(match_columns(SALES, ["", *NEEDED, "", "note", "note"], {}, "f.csv")) == NEEDED


def test_a_mapping_goes_before_the_name() -> None:
    matched = match_columns(SALES, [*NEEDED, "net"], {"units": "net"}, "f.csv")
    assert matched["units"] == "net"


@pytest.mark.parametrize(
    ("header", "mapping", "message"),
    [
        (["day", "shop", "sku", "qty"], {}, "no column 'date' and no column 'store_id'"),
        (["day", "shop", "sku", "qty"], {}, "--map date=day --map store_id=shop --map product_id=sku --map units=qty"),
        (["date", "store_id", "product_id", "qty sold"], {}, '--map units="qty sold"'),
        ([*NEEDED, "price", "unit_price"], {}, "'price' and 'unit_price' both mean price"),
        ([*NEEDED, "units"], {}, "more than one column 'units'"),
        (NEEDED, {"units": "qty"}, "no column 'qty' as --map units=qty says"),
    ],
)
def test_a_header_that_does_not_fit_is_refused_with_what_to_do(
    header: list[str], mapping: dict[str, str], message: str
) -> None:
    with pytest.raises(ImportRefusedError) as error:
        match_columns(SALES, header, mapping, "f.csv")
    assert message in str(error.value)


def test_mappings_are_read_by_kind_of_file() -> None:
    assert parse_mapping(["units=qty_sold", "products.name = title"], SALES) == {
        "sales": {"units": "qty_sold"},
        "products": {"name": "title"},
    }


@pytest.mark.parametrize("text", ["units", "units=", "colour=x", "shoes.name=x", "=x", "products.units=x"])
def test_a_mapping_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ImportRefusedError, match="--map"):
        parse_mapping([text], SALES)


def test_a_field_is_mapped_once() -> None:
    with pytest.raises(ImportRefusedError, match="twice"):
        parse_mapping(["units=a", "units=b"], SALES)
