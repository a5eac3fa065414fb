"""Checkpoints as a whole: which topics one was made from, who works on it, and setting one aside.

Spark's checkpoint knows a topic by its name and its offsets alone. A topic that was deleted and made anew has the same
name, and once it has grown past the old offsets the query would go on in its middle as if nothing had happened. So the
topics' ids are kept beside Spark's own files. One process at a time works on the checkpoints of a folder. Does not
belong here: what is in these (Spark's affair), and asking the broker for ids (`broker`).
"""

import fcntl
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from pyspark.sql import SparkSession

from retail_assets.contracts.topics import Topic
from retail_streaming.errors import CheckpointError, SettingsError, StreamingError, TopicRemadeError
from retail_streaming.failures import begin_anew
from retail_streaming.logs import log
from retail_streaming.settings import StreamingSettings

#: In the folder of a checkpoint, beside Spark's own files. It goes where these go.
TOPICS_FILE: Final = "topics.json"
#: Beside it, where rows that a fresh checkpoint doesn't bring again are to be deleted (`forgetting`).
FORGET_FILE: Final = "forget.json"
#: Spark's first file of a checkpoint.
_SPARKS_FILE: Final = "metadata"
_ENCODING: Final = "UTF-8"
#: Beside the checkpoints.
_LOCK_FILE: Final = "service.lock"


class Folder(Protocol):
    """The folder of one checkpoint, on a disk or in an object store."""

    def read(self, name: str) -> str | None:
        """Return what is in a file; None where there is no such file."""

    def write(self, name: str, text: str) -> None:
        """Write a file whole, or not at all."""


class TopicsOfCheckpoint:
    """Makes sure that one query reads the very topics that its checkpoint is about."""

    def __init__(
        self, query: str, topics: Sequence[Topic], uri: str, folder: Folder, ids: Callable[[], Mapping[str, str]]
    ) -> None:
        """Say what is compared.

        Args:
            query: its name.
            topics: what it reads.
            uri: of its checkpoint.
            folder: the same, to read and write.
            ids: asks the broker for the ids of the topics, by name. A topic made anew has another; a topic may be
                missing where the broker has no ids.
        """
        self._query = query
        self._names = [topic.name for topic in topics]
        self._uri = uri
        self._folder = folder
        self._ids = ids
        self._noted: dict[str, str] | None = None

    def begin(self) -> None:
        """Compare before each start of the query; note the ids when the checkpoint has none yet.

        Raises:
            TransientError: the broker doesn't answer.
            StreamingError: a topic is missing, or isn't the one that the checkpoint is about; or the checkpoint was
                moved away while the service runs: its batches would begin with number 0 again, under this run's start
                time, so that their rows would lose against those that are there.
        """
        noted = self._read()
        if noted is None and self._noted is not None:
            raise CheckpointError(
                f"{self._query}: its checkpoint {self._uri} was moved away while the service runs: start the service "
                "again, then the query begins anew"
            )
        ids = self._compared(noted or {})
        together = {**(noted or {}), **ids}
        if together != noted:
            is_new = self._folder.read(_SPARKS_FILE) is None
            self._folder.write(TOPICS_FILE, json.dumps(together, sort_keys=True))
            event = "query begins anew" if is_new else "topics noted"
            log(logging.INFO, event, query=self._query, checkpoint=self._uri, topics=together)
        self._noted = together

    def check(self) -> None:
        """Compare after a batch was read and before it is written.

        No id comes twice, so what was read between two looks that found the same id is of that topic.

        Raises:
            TransientError: the broker doesn't answer.
            StreamingError: a topic is missing, or isn't the one that the checkpoint is about.
        """
        self._compared(self._noted or {})

    def _compared(self, noted: Mapping[str, str]) -> dict[str, str]:
        ids = dict(self._ids())
        remade = [name for name in self._names if name in ids and noted.get(name, ids[name]) != ids[name]]
        if remade:
            was = ", ".join(f"{name} (id {noted[name]} then, {ids[name]} now)" for name in remade)
            raise TopicRemadeError(
                f"{self._query}: topic {was} was deleted and made anew since the query began to read it; what it had "
                f"not read of the old one is gone, and the new one is not read in its place unasked: to go on with "
                f"the new one from its start, {begin_anew(self._query, self._uri)}"
            )
        return ids

    def _read(self) -> dict[str, str] | None:
        text = self._folder.read(TOPICS_FILE)
        if text is None:
            return None
        try:
            noted = json.loads(text)
            return {str(name): str(one) for name, one in noted.items()}
        except (ValueError, AttributeError):
            raise CheckpointError(
                f"{self._query}: {self._uri}/{TOPICS_FILE} is damaged: {begin_anew(self._query, self._uri)}"
            ) from None


class HadoopFolder:
    """A folder wherever Spark can have a checkpoint, by its own means. Java's errors come through: `failures` knows."""

    def __init__(self, spark: SparkSession, uri: str) -> None:
        """Take the session whose checkpoints these are."""
        self._jvm: Any = spark._jvm  # noqa: SLF001
        self._conf: Any = spark._jsc.hadoopConfiguration()  # noqa: SLF001
        self._uri = uri

    def read(self, name: str) -> str | None:
        """Return what is in a file; None where there is no such file."""
        path = self._path(name)
        files = path.getFileSystem(self._conf)
        if not files.exists(path):
            return None
        with closing(files.open(path)) as stream:
            return str(self._jvm.org.apache.commons.io.IOUtils.toString(stream, _ENCODING))

    def write(self, name: str, text: str) -> None:
        """Write a file whole, or not at all."""
        path = self._path(name)
        # An object store has a file when it is closed, and not before; a disk needs another name meanwhile.
        is_local = self._uri.startswith("file:")
        first = self._path(f"{name}.tmp") if is_local else path
        files = path.getFileSystem(self._conf)
        with closing(files.create(first)) as stream:
            stream.write(bytearray(text.encode(_ENCODING)))
        if is_local and not files.rename(first, path):
            raise CheckpointError(f"{path.toString()} can't be written: may the service write to this folder?")

    def _path(self, name: str) -> Any:
        return self._jvm.org.apache.hadoop.fs.Path(f"{self._uri}/{name}")


@contextmanager
def alone(settings: StreamingSettings) -> Iterator[None]:
    """Keep other processes of this machine from the checkpoints meanwhile; in an object store nobody can.

    Two services on one checkpoint take batches from each other until one fails; a checkpoint that is set aside under a
    running service is written on, without its beginning. The lock goes with the process, however that ends.

    Raises:
        StreamingError: another one has them, or the folder can't be written to.
    """
    if settings.uses_s3:
        yield
        return
    folder = _folder(settings.checkpoint_of("any")).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Not truncated: it may be somebody's.
        lock = (folder / _LOCK_FILE).open("ab")
    except OSError as error:
        raise StreamingError(f"{folder} can't be written to ({error.strerror}): it is for the checkpoints") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StreamingError(
                f"another retail-streaming works on the checkpoints in {folder}: end it first, or give this one a "
                "folder of its own with RETAIL_STREAM_CHECKPOINT_URI"
            ) from None
        yield


def set_aside(settings: StreamingSettings, query: str, now: datetime, *, forget: bool = False) -> str | None:
    """Rename a query's checkpoint, so that the next start reads its topics from their start. Nothing is deleted here.

    Args:
        settings: say where checkpoints are.
        query: its name.
        now: goes into the new name.
        forget: ask the next start to delete the rows that it doesn't bring again.

    Returns:
        Where it is now; None where there was none.

    Raises:
        SettingsError: it isn't on a disk.
        StreamingError: it can't be renamed.
    """
    uri = settings.checkpoint_of(query)
    if settings.uses_s3:
        raise SettingsError(f"{uri} is in an object store: move what is below it with the store's own tools")
    folder = _folder(uri)
    aside = folder.with_name(f"{folder.name}.set-aside-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}")
    try:
        folder.rename(aside)
        was_there = True
    except FileNotFoundError:
        was_there = False
    except OSError as error:
        raise StreamingError(f"{folder} can't be renamed to {aside} ({error.strerror})") from None
    if forget:
        _ask_to_forget(folder)
    return str(aside) if was_there else None


def _folder(uri: str) -> Path:
    # As Hadoop reads it: to the letter, percent signs too.
    return Path(uri.removeprefix("file://"))


def _ask_to_forget(folder: Path) -> None:
    unfinished = folder / f"{FORGET_FILE}.tmp"
    try:
        folder.mkdir(parents=True)
        unfinished.write_text("{}", encoding=_ENCODING)
        unfinished.replace(folder / FORGET_FILE)
    except OSError as error:
        raise StreamingError(
            f"{folder / FORGET_FILE} can't be written ({error.strerror}): give the command again"
        ) from None
