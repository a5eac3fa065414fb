"""Keys of the dimensions last: facts hold them for ever."""

import polars as pl
import pytest

from retail_assets.assets.marts import EmptyReferenceError, keyed_members


def members(*ids: str) -> pl.DataFrame:
    return pl.DataFrame(
        {"store_id": list(ids), "name": [f"Store {identifier}" for identifier in ids]},
        schema_overrides={"store_id": pl.String, "name": pl.String},
    )


def known(**keys: int) -> pl.DataFrame:
    frame = pl.DataFrame(
        {"store_key": list(keys.values()), "store_id": list(keys), "name": [f"Old {name}" for name in keys]}
    )
    return frame.cast({"store_key": pl.UInt32, "store_id": pl.String, "name": pl.String})


def keys_of(frame: pl.DataFrame) -> dict[str, int]:
    return dict(frame.select("store_id", "store_key").sort("store_key").iter_rows())


def test_a_member_keeps_its_key_and_a_new_one_gets_the_next() -> None:
    assert keys_of(keyed_members(members("A", "B", "D"), known(A=1, B=2), "store")) == {"A": 1, "B": 2, "D": 3}


def test_the_key_of_a_member_that_has_left_is_never_given_to_another() -> None:
    without = keyed_members(members("A", "B"), known(A=1, B=2, C=3), "store")
    assert keys_of(without) == {"A": 1, "B": 2, "C": 3}
    assert keys_of(keyed_members(members("A", "B", "D"), without.select("store_key", "store_id", "name"), "store")) == {
        "A": 1,
        "B": 2,
        "C": 3,
        "D": 4,
    }


def test_master_data_that_have_vanished_are_an_error_and_not_an_empty_dimension() -> None:
    with pytest.raises(EmptyReferenceError, match="the warehouse knows 2"):
        keyed_members(members(), known(A=1, B=2), "store")
