"""What a query that began anew did not find again is deleted once, and not before it has read everything."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from retail_streaming.checkpoints import FORGET_FILE
from retail_streaming.errors import CheckpointError, TransientError
from retail_streaming.forgetting import Forgetting
from retail_streaming.progress import Batch, Written, batch_of
from retail_streaming.queries import QUERIES
from retail_streaming.warehouse import version_of

SALES = next(query for query in QUERIES if query.name == "sales")


class Place:
    """A checkpoint that was set aside to forget, a warehouse, and the service started again and again."""

    def __init__(self, asked: str | None = "{}") -> None:
        self.files = {} if asked is None else {FORGET_FILE: asked}
        self.deleted: list[tuple[str, float]] = []
        self.away = False
        self.waiting = False

    def read(self, name: str) -> str | None:
        return self.files.get(name)

    def write(self, name: str, text: str) -> None:
        self.files[name] = text

    def rows(self, _: str) -> Sequence[Sequence[Any]]:
        if self.away:
            raise TransientError("away")
        return [(3,)]

    def command(self, statement: str, **parameters: float) -> None:
        self.deleted.append((statement.split()[2], parameters["below"]))

    def start(self, epoch: int) -> Forgetting:
        forgetting = Forgetting(self, lambda _: self.waiting)
        forgetting.begin("sales", SALES.targets, "file:///c/sales", self, epoch)
        return forgetting


def batch(lag: int) -> Batch:
    source = {"endOffset": '{"t": {"0": 5}}', "latestOffset": json.dumps({"t": {"0": 5 + lag}})}
    progress = {
        "name": "sales",
        "batchId": 0,
        "numInputRows": 5,
        "durationMs": {},
        "eventTime": {},
        "stateOperators": [],
        "sources": [source],
    }
    return batch_of(progress, {}, Written())


def old(epoch: int) -> list[tuple[str, float]]:
    return [(table, version_of(epoch, 0)) for table in ("rt_revenue_hourly", "rt_sales_velocity")]


def test_rows_are_forgotten_when_everything_is_read_and_only_once(seen: pytest.LogCaptureFixture) -> None:
    place = Place()
    forgetting = place.start(7)
    forgetting.turn()
    forgetting.batch(batch(lag=10))
    forgetting.idle("sales")
    forgetting.turn()
    assert place.deleted == []
    forgetting.batch(batch(lag=0))
    forgetting.turn()
    forgetting.turn()
    assert place.deleted == old(7)
    said = [record for record in seen.records if record.getMessage() == "rows forgotten"]
    assert [vars(record)["fields"]["rows"] for record in said] == [{"rt_revenue_hourly": 3, "rt_sales_velocity": 3}]
    again = place.start(8)
    again.batch(batch(lag=0))
    again.turn()
    assert place.deleted == old(7)


def test_what_the_first_run_wrote_is_not_old_for_the_run_after_a_crash() -> None:
    place = Place()
    place.start(7)
    forgetting = place.start(8)
    forgetting.batch(batch(lag=0))
    forgetting.turn()
    assert place.deleted == old(7)


def test_a_query_that_was_not_asked_to_forget_deletes_nothing() -> None:
    place = Place(asked=None)
    forgetting = place.start(7)
    forgetting.batch(batch(lag=0))
    forgetting.turn()
    assert (place.deleted, place.files) == ([], {})


def test_rows_that_wait_on_the_disk_and_a_warehouse_that_is_away_are_waited_for() -> None:
    place = Place()
    place.waiting = place.away = True
    forgetting = place.start(7)
    forgetting.batch(batch(lag=0))
    forgetting.turn()
    place.waiting = False
    with pytest.raises(TransientError):
        forgetting.turn()
    assert place.deleted == []
    place.away = False
    forgetting.turn()
    assert place.deleted == old(7)


@pytest.mark.parametrize("text", ["", "garbage", "[1]", '{"below_version": "x"}'])
def test_a_file_that_cannot_be_read_is_damage(text: str) -> None:
    with pytest.raises(CheckpointError, match=r"file:///c/sales/forget\.json is damaged"):
        Place(asked=text).start(7)
