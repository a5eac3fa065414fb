"""Rows that a query which began anew did not find again: deleted once, when a person asked for it.

A row is replaced by one with the same key and a higher version. One whose key doesn't come again stays: an hour of next
year, from a clock that was wrong. `retail-streaming begin-anew --forget` leaves a file in the fresh checkpoint; when
the query has read all that its topics have, what is older than its first batch goes. The file remembers how far that
is, whoever is killed meanwhile. Does not belong here: setting the old checkpoint aside (`checkpoints`).
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from retail_streaming.checkpoints import FORGET_FILE, Folder
from retail_streaming.errors import CheckpointError
from retail_streaming.failures import begin_anew
from retail_streaming.logs import log
from retail_streaming.progress import Batch
from retail_streaming.warehouse import Target, version_of

_BELOW: Final = "below_version"
_DONE: Final = "done"


class Rows(Protocol):
    """What is asked of the warehouse here."""

    def rows(self, query: str) -> Sequence[Sequence[Any]]:
        """Return the rows of a query that gives few."""

    def command(self, statement: str, **parameters: float) -> None:
        """Run a statement."""


@dataclass
class _Asked:
    """What is to be forgotten of one query: rows of its tables with a version below, once it has caught up."""

    targets: Sequence[Target]
    folder: Folder
    below: int
    caught_up: bool = False


class Forgetting:
    """Forgets for all queries. An observer of batches; its turns are background work."""

    def __init__(self, warehouse: Rows, rows_wait: Callable[[str], bool]) -> None:
        """Begin with nothing to forget.

        Args:
            warehouse: a connection of its own.
            rows_wait: says whether rows of a query wait on the disk. Those of an earlier run would come back.
        """
        self._warehouse = warehouse
        self._rows_wait = rows_wait
        self._asked: dict[str, _Asked] = {}

    def begin(self, query: str, targets: Sequence[Target], uri: str, folder: Folder, epoch: int) -> None:
        """See what is asked for, before each start of a query; note which rows are old before the first.

        Args:
            query: its name.
            targets: the tables that it writes.
            uri: of its checkpoint.
            folder: the same, to read and write.
            epoch: this run's start time for the versions.

        Raises:
            CheckpointError: the file that asks for it is damaged.
        """
        self._asked.pop(query, None)
        text = folder.read(FORGET_FILE)
        if text is None:
            return
        try:
            asked = dict(json.loads(text))
            below = int(asked.get(_BELOW, 0))
        except (ValueError, TypeError):
            raise CheckpointError(f"{query}: {uri}/{FORGET_FILE} is damaged: {begin_anew(query, uri)}") from None
        if asked.get(_DONE):
            return
        if not below:
            # Fixed before the first batch: a later run's start time would make this run's rows old ones.
            below = version_of(epoch, 0)
            folder.write(FORGET_FILE, json.dumps({_BELOW: below}))
        self._asked[query] = _Asked([target for target in targets if target.versioned], folder, below)

    def batch(self, batch: Batch) -> None:
        """Take note of a batch that ended well; with the first that leaves no message, its query has caught up."""
        asked = self._asked.get(batch.query)
        if asked is not None and batch.lag == 0:
            asked.caught_up = True

    def idle(self, query: str) -> None:
        """Take no note: messages may wait for a whole batch of them."""

    def turn(self) -> None:
        """Forget for the queries that have caught up. May be repeated.

        Raises:
            StreamingError: the warehouse doesn't answer, or refuses.
        """
        for query, asked in list(self._asked.items()):
            if asked.caught_up and not self._rows_wait(query):
                forgotten = {target.table: self._forget(target.table, asked.below) for target in asked.targets}
                asked.folder.write(FORGET_FILE, json.dumps({_BELOW: asked.below, _DONE: True}))
                if self._asked.get(query) is asked:
                    del self._asked[query]
                log(logging.INFO, "rows forgotten", query=query, rows=forgotten, below_version=asked.below)

    def _forget(self, table: str, below: int) -> int:
        """Delete a table's old rows; return how many keys of it had no newer one."""
        ((count,),) = self._warehouse.rows(f"SELECT count() FROM {table} FINAL WHERE version < {below}")  # noqa: S608
        self._warehouse.command(f"DELETE FROM {table} WHERE version < {{below:UInt64}}", below=below)  # noqa: S608
        return int(count)
