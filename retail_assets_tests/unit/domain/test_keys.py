"""Surrogate keys: stable, unique, zero kept free."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_assets.domain.keys import UNKNOWN_KEY, assign_keys

NONE = pl.DataFrame()
names = st.lists(st.text("abcd", min_size=1, max_size=3), max_size=12)


def as_dict(keys: pl.DataFrame) -> dict[str, int]:
    return dict(keys.iter_rows())


def test_new_ids_are_numbered_in_sorted_order_from_one():
    assert as_dict(assign_keys(NONE, ["b", "a", "b"], "store_id", "store_key")) == {"a": 1, "b": 2}


def test_no_ids_at_all_are_an_empty_table():
    keys = assign_keys(NONE, [], "store_id", "store_key")
    assert keys.schema == {"store_id": pl.String, "store_key": pl.Int64}
    assert keys.is_empty()


def test_the_row_of_the_unknown_stays_and_is_never_given_away():
    existing = pl.DataFrame({"store_id": ["?"], "store_key": [UNKNOWN_KEY]})
    assert as_dict(assign_keys(existing, ["a"], "store_id", "store_key")) == {"?": 0, "a": 1}


@settings(max_examples=60, deadline=None)
@given(first=names, second=names)
def test_ids_keep_their_keys_whatever_comes_later(first: list[str], second: list[str]):
    before = assign_keys(NONE, first, "id", "key")
    after = assign_keys(before, second, "id", "key")
    assert as_dict(before).items() <= as_dict(after).items()
    assert set(after["id"]) == set(first) | set(second)
    assert after["key"].n_unique() == after.height
    assert (after["key"] > UNKNOWN_KEY).all()
    assert as_dict(assign_keys(after, second[::-1], "id", "key")) == as_dict(after)


@pytest.mark.parametrize(
    ("ids", "keys", "message"),
    [(["a", "a"], [1, 2], "twice"), (["a", "b"], [1, 1], "twice"), (["a"], [-1], "negative")],
)
def test_broken_keys_are_refused(ids: list[str], keys: list[int], message: str):
    with pytest.raises(ValueError, match=message):
        assign_keys(pl.DataFrame({"id": ids, "key": keys}), [], "id", "key")
