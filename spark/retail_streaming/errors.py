"""The errors that the service explains: each message is one line that says what is wrong and what to do.

Belongs here: the kinds, since who catches them decides by kind. Does not belong here: the messages, which are written
where the problem is seen.
"""

from collections.abc import Iterable
from typing import ClassVar, Final

_LONGEST: Final = 300


class StreamingError(Exception):
    """Something that only a person can mend.

    Attributes:
        reason: the kind in a word, for metrics.
    """

    reason: ClassVar[str] = "refused"


class TransientError(StreamingError):
    """Something that is known to pass by itself: worth another try."""

    reason = "away"


class UnknownError(StreamingError):
    """Something that nothing is known about: it may pass, so it is worth a few tries."""

    reason = "unknown"


class DiskFullError(UnknownError):
    """A disk takes nothing more: it may pass when others make room."""

    reason = "disk_full"


class MessagesLostError(StreamingError):
    """The broker no longer has messages that were not read yet."""

    reason = "messages_lost"


class TopicMissingError(StreamingError):
    """The broker has no such topic."""

    reason = "topic_missing"


class TopicRemadeError(StreamingError):
    """A topic is another than the one that the checkpoint is about."""

    reason = "topic_remade"


class CheckpointError(StreamingError):
    """A checkpoint can't be read, or isn't what it was."""

    reason = "checkpoint"


class SettingsError(StreamingError):
    """A setting is missing or wrong."""

    reason = "settings"


def first_line(text: object, *, without: Iterable[str] = ()) -> str:
    """Return the first line of a long message, for use within an explanation.

    Args:
        text: the message, or the exception that has it.
        without: beginnings of lines that say nothing.
    """
    skipped = tuple(without)
    lines = (line.strip() for line in str(text).splitlines())
    return next((line for line in lines if line and not line.startswith(skipped)), type(text).__name__)[
        :_LONGEST
    ].rstrip(".")
