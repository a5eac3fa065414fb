"""Decimal comma or point, and words for nothing, yes and no."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retail_assets.imports.errors import ImportRefusedError
from retail_assets.imports.numbers import infer_decimal_sign, read_flags, read_numbers


@pytest.mark.parametrize(
    ("texts", "sign"),
    [
        (["1,5", "2,25"], ","),
        (["1,5", "1.234"], ","),
        (["1.234,5"], ","),
        (["0,125"], ","),
        (["1.5"], "."),
        (["1,234.5"], "."),
        (["1,234", "1.5"], "."),
        (["1,234,567"], "."),
        (["1.234.567"], ","),
        (["1.234"], "."),
        ([], "."),
    ],
)
def test_the_decimal_sign_is_inferred_from_the_numbers_that_decide_it(texts: list[str], sign: str) -> None:
    assert infer_decimal_sign(texts, "f.csv") == (sign, [])


def test_a_comma_that_can_be_two_things_is_an_error_that_asks() -> None:
    with pytest.raises(ImportRefusedError, match="--decimal comma or --decimal point"):
        infer_decimal_sign(["1,234", "5,678"], "f.csv")


@pytest.mark.parametrize(
    ("texts", "sign"), [(["1.500", "0.5"], "."), (["1.500", "0.125"], "."), (["1.500", "2,5"], ","), ([], ".")]
)
def test_a_point_that_may_stand_between_thousands_is_decided_by_any_other_number(texts: list[str], sign: str) -> None:
    assert infer_decimal_sign(texts, "f.csv", points_group=True) == (sign, [])


def test_a_point_that_can_be_two_things_is_an_error_that_asks() -> None:
    with pytest.raises(ImportRefusedError, match=r"the point in numbers such as 1\.250 .*--decimal comma"):
        infer_decimal_sign(["1.250", "1.500"], "f.csv", points_group=True)


def test_a_file_that_mixes_both_is_read_by_the_more_frequent_and_said_to() -> None:
    sign, notes = infer_decimal_sign(["1,5", "2,5", "3.5"], "f.csv")
    assert sign == ","
    assert "such as 3.5" in notes[0]


@pytest.mark.parametrize(
    ("text", "decimal", "number"),
    [
        (" 12 ", ".", 12.0),
        ("1,234.5", ".", 1234.5),
        ("1.234,5", ",", 1234.5),
        ("1.234", ",", 1234.0),
        ("0,5", ",", 0.5),
        ("-3", ".", -3.0),
        ("1e3", ".", 1000.0),
    ],
)
def test_numbers_are_read(text: str, decimal: str, number: float) -> None:
    numbers, wrong = read_numbers(pl.Series([text, "1"]), decimal)
    assert numbers.to_list() == [number, 1.0]
    assert not wrong.any()


@pytest.mark.parametrize(
    ("text", "decimal"),
    [
        ("abc", "."),
        ("1,5", "."),
        ("12,34.5", "."),
        ("1.5", ","),
        ("inf", "."),
        ("1 kg", "."),
        ("--1", "."),
        ("1.2.3", "."),
    ],
)
def test_what_is_no_number_is_wrong(text: str, decimal: str) -> None:
    numbers, wrong = read_numbers(pl.Series([text, "1"]), decimal)
    assert numbers.to_list() == [None, 1.0]
    assert wrong.to_list() == [True, False]


@pytest.mark.parametrize("text", ["", " ", "NA", "NaN", "null", "None", r"\N", "-", None])
def test_what_stands_for_nothing_is_missing_and_not_wrong(text: str | None) -> None:
    numbers, wrong = read_numbers(pl.Series([text, "1"]), ".")
    assert numbers.to_list() == [None, 1.0]
    assert not wrong.any()


def test_numbers_of_a_parquet_file_are_taken_as_they_are() -> None:
    numbers, wrong = read_numbers(pl.Series([1.5, float("nan"), float("inf"), None]), ".")
    assert numbers.to_list() == [1.5, None, None, None]
    assert wrong.to_list() == [False, False, True, False]


@given(st.floats(-1e9, 1e9).map(lambda number: round(number, 3)))
def test_a_number_is_read_back_with_either_sign(number: float) -> None:
    for decimal, written in ((".", f"{number:,.3f}"), (",", f"{number:,.3f}".translate(str.maketrans(",.", ".,")))):
        numbers, _ = read_numbers(pl.Series([written]), decimal)
        assert numbers.to_list() == [number]


def test_yes_and_no_are_read_in_the_words_that_exports_use() -> None:
    flags, wrong = read_flags(pl.Series(["yes", "No", "TRUE", "f", "1", "0", "1.0", "", "perhaps"]))
    assert flags.to_list() == [True, False, True, False, True, False, True, None, None]
    assert wrong.to_list() == [*[False] * 8, True]
    assert read_flags(pl.Series([1, 0, 2, None]))[0].to_list() == [True, False, None, None]
    assert read_flags(pl.Series([1, 0, 2, None]))[1].to_list() == [False, False, True, False]
