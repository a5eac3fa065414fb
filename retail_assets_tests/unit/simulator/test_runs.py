"""Arithmetic along runs of equal values, against plain loops."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_assets.simulator.runs import place_in_run, running_sum, stable_order, starts_of_runs, stock_walk

RUNS = st.lists(st.tuples(st.integers(0, 5), st.integers(-9, 9)), max_size=60).map(sorted)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(-9, 9)), max_size=60),
    st.lists(st.integers(0, 12), min_size=5, max_size=5),
)
@settings(deadline=None)
def test_the_walk_of_all_series_is_what_a_shopkeeper_would_count(
    entries: list[tuple[int, int]], on_hand: list[int]
) -> None:
    entries.sort(key=lambda entry: entry[0])
    series, change = (np.array([entry[i] for entry in entries], dtype=np.int64) for i in (0, 1))
    after, moved = stock_walk(series, change, np.array(on_hand, dtype=np.int64))
    counted = list(on_hand)
    for place, (which, wanted) in enumerate(entries):
        before = counted[which]
        counted[which] = max(0, before + wanted)
        assert (after[place], moved[place]) == (counted[which], counted[which] - before)


@given(st.lists(st.integers(0, 2**33), max_size=200))
def test_the_stable_order_is_that_of_a_stable_sort(values: list[int]) -> None:
    array = np.array(values, dtype=np.int64)
    bound = max(values, default=0) + 1
    assert stable_order(array, bound).tolist() == np.argsort(array, kind="stable").tolist()


@given(RUNS)
def test_sums_and_places_start_again_with_every_run(entries: list[tuple[int, int]]) -> None:
    series, change = (np.array([entry[i] for entry in entries], dtype=np.int64) for i in (0, 1))
    sums: dict[int, int] = {}
    places: dict[int, int] = {}
    starts, place, total = starts_of_runs(series), place_in_run(series), running_sum(series, change)
    for row, (which, units) in enumerate(entries):
        assert starts[row] == (which not in sums)
        places[which] = places.get(which, -1) + 1
        sums[which] = sums.get(which, 0) + units
        assert (place[row], total[row]) == (places[which], sums[which])
