"""One format of dates per file, inferred from all its rows."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retail_assets.imports import dates
from retail_assets.imports.dates import FORMATS, DateFormat, infer_format, named_format, read_dates
from retail_assets.imports.errors import ImportRefusedError

TODAY = date(2025, 6, 30)
DAYS = st.dates(date(1990, 1, 1), TODAY)


def inferred(*texts: str) -> str:
    return infer_format(dict.fromkeys(texts, 1), "f.csv")[0].name


@pytest.mark.parametrize(
    ("texts", "name"),
    [
        (["2024-03-04"], "yyyy-mm-dd"),
        (["2024-3-4", "2024-12-31"], "yyyy-mm-dd"),
        (["2024-03-04 00:00:00", "2024-03-05T00:00:00.000Z"], "yyyy-mm-dd"),
        (["2024-03-04 00:00:00.000000 CET"], "yyyy-mm-dd"),
        (["2024/03/04"], "yyyy/mm/dd"),
        (["20240304"], "yyyymmdd"),
        (["03/04/2024", "13/04/2024"], "dd/mm/yyyy"),
        (["03/04/2024", "04/13/2024"], "mm/dd/yyyy"),
        (["03.04.2024"], "dd.mm.yyyy"),
        (["03-04-2024", "31-12-2024"], "dd-mm-yyyy"),
        (["1/1/2024 0:00", "1/31/2024 0:00"], "mm/dd/yyyy"),
    ],
)
def test_the_format_is_inferred_from_the_rows_that_decide_it(texts: list[str], name: str) -> None:
    assert inferred(*texts) == name


def test_dates_that_can_be_two_things_are_an_error_that_asks() -> None:
    with pytest.raises(ImportRefusedError, match="--date-format dd/mm/yyyy or --date-format mm/dd/yyyy"):
        inferred("03/04/2024", "05/06/2024")


def test_dates_that_are_the_same_in_both_readings_need_no_question() -> None:
    assert inferred("01/01/2024", "02/02/2024") == "dd/mm/yyyy"


@pytest.mark.parametrize(
    ("counts", "rows"),
    [
        (
            {"2024-05-01": 20, "2024-05-02": 30, "31/05/2024": 50},
            {"yyyy-mm-dd (such as 2024-05-01)": 50, "dd/mm/yyyy (such as 31/05/2024)": 50},
        ),
        (
            {"2024-05-01": 5, "03/04/2024": 5},
            {"yyyy-mm-dd (such as 2024-05-01)": 5, "dd/mm/yyyy or mm/dd/yyyy (such as 03/04/2024)": 5},
        ),
        (
            {"13/04/2024": 2, "04/13/2024": 2, "03/04/2024": 9},
            {"dd/mm/yyyy (such as 13/04/2024)": 2, "mm/dd/yyyy (such as 04/13/2024)": 2},
        ),
    ],
)
def test_as_many_rows_of_one_format_as_of_another_are_called_mixed(
    counts: dict[str, int], rows: dict[str, int]
) -> None:
    with pytest.raises(ImportRefusedError) as error:
        infer_format(counts, "f.csv")
    said = ", ".join(f"{count} rows only make sense as {form}" for form, count in rows.items())
    assert f"f.csv mixes formats of dates: {said}. Write all dates in one format" in str(error.value)
    assert "which rejects the others" in str(error.value)
    assert "say which" not in str(error.value)


def test_an_unknown_format_is_an_error_that_asks() -> None:
    with pytest.raises(ImportRefusedError, match="'1st of May'"):
        inferred("1st of May")


def test_rows_of_the_rival_format_are_named_since_they_cast_doubt_on_the_others() -> None:
    counts = {"13/04/2024": 90, "03/04/2024": 5, "04/13/2024": 2}
    form, notes = infer_format(counts, "f.csv")
    assert form.name == "dd/mm/yyyy"
    assert "2 rows only make sense as mm/dd/yyyy" in notes[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("32/01/2024", dates.NO_DATE),
        ("soon", dates.NO_DATE),
        ("2024-01-31", dates.OTHER_FORMAT),
        ("31/01/2024 08:26", dates.TIME_OF_DAY),
        ("31/12/1989", dates.TOO_EARLY),
        ("01/07/2025", dates.FUTURE),
        ("31/01/0024", dates.TOO_EARLY),
    ],
)
def test_a_text_that_is_no_good_date_says_why(text: str, reason: str) -> None:
    assert read_dates({text: 1}, named_format("dd/mm/yyyy"), TODAY)[text] == (None, reason)


def test_today_is_not_the_future() -> None:
    assert read_dates({"30/06/2025": 1}, named_format("dd/mm/yyyy"), TODAY)["30/06/2025"] == (TODAY, None)


def test_a_blank_text_is_missing_rather_than_wrong() -> None:
    assert read_dates({"  ": 1}, named_format("dd/mm/yyyy"), TODAY) == {"  ": (None, None)}


@given(day=DAYS, form=st.sampled_from(FORMATS))
def test_what_is_written_in_a_format_is_read_back(day: date, form: DateFormat) -> None:
    assert form.read(day.strftime(form.pattern)) == (day, None)


@given(first=st.dates(date(1990, 1, 1), date(2024, 12, 31)), form=st.sampled_from(FORMATS))
def test_two_weeks_in_a_row_decide_between_day_and_month(first: date, form: DateFormat) -> None:
    texts = [(first + timedelta(days)).strftime(form.pattern) for days in range(14)]
    assert inferred(*texts) == form.name


def test_a_pattern_may_be_given_where_no_known_format_fits() -> None:
    assert named_format("%d.%m.%y").read("31.01.24") == (date(2024, 1, 31), None)


@pytest.mark.parametrize("text", ["german", "%d.%m", "dd/mm"])
def test_a_format_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ImportRefusedError, match="--date-format"):
        named_format(text)
