"""Dead letters as they lie in their topic: reading them, and sending the messages again that they are about.

Belongs here: which letters there are, what today's contracts say of them, and the order in which a replay is sent. Does
not belong here: what a letter is and what is refused (contracts), sending letters (the raw layer and the streaming
service do), and showing them (the `retail` command).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from retail_assets.contracts.letters import HEADER_REPLAY_OF, LETTER_HEADERS, place_of
from retail_assets.contracts.topics import DEAD_LETTERS, EVENT_TOPICS, Topic
from retail_assets.resources.kafka import KafkaResource, Letter, Received

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: So many messages are sent before their letters are ended: what a crash repeats at most.
_TOGETHER: Final = 1_000


class LetterError(Exception):
    """There is no such letter, or it can't be sent again. The message says why; nothing was sent."""


@dataclass(frozen=True)
class DeadLetter:
    """One refused message, as its newest letter tells it.

    Attributes:
        key: of the letter: topic, partition, offset and time of the message.
        at: when the letter was sent.
        value: the message's bytes, or the first of them.
        headers: the message's own and those of the letter, in order.
    """

    key: str
    at: datetime
    value: bytes
    headers: tuple[tuple[str, bytes], ...]

    @property
    def topic(self) -> str:
        """The message's topic, by its name on the broker; empty where the letter doesn't say."""
        return self._said("topic")

    @property
    def reason(self) -> str:
        """Why the contract refused the message; empty where the letter doesn't say."""
        return self._said("reason")

    @property
    def place(self) -> tuple[str, int, float, int]:
        """Topic, partition, time and offset of the message, by which messages of a partition are in order.

        Time before offset: where the topic was made anew, the offsets begin again. Letters of earlier releases, which
        don't say the time, come first.
        """
        found = place_of(self.key)
        if found is None:
            return self.key, 0, -math.inf, 0
        return found.topic, found.partition, -math.inf if found.time is None else found.time, found.offset

    @property
    def own_headers(self) -> list[tuple[str, bytes]]:
        """The headers that the message came with, but for those that a letter or an earlier replay has put over."""
        ours = {*LETTER_HEADERS, HEADER_REPLAY_OF}
        return [(name, value) for name, value in self.headers if name not in ours]

    def _said(self, header: str) -> str:
        return dict(self.headers).get(header, b"").decode(errors="backslashreplace")


@dataclass(frozen=True)
class Choice:
    """Which letters are wanted; without anything said, all.

    Attributes:
        keys: those with these keys.
        topic: those about messages of this topic, by its name on the broker.
        reason: those whose reason has this text in it, in whatever case.
        since: those that were sent then or later.
    """

    keys: frozenset[str] | None = None
    topic: str | None = None
    reason: str | None = None
    since: datetime | None = None

    def takes(self, letter: DeadLetter) -> bool:
        """Return whether a letter is wanted."""
        return (
            (self.keys is None or letter.key in self.keys)
            and (self.topic is None or letter.topic == self.topic)
            and (self.reason is None or self.reason.casefold() in letter.reason.casefold())
            and (self.since is None or letter.at >= self.since)
        )


@dataclass(frozen=True)
class Replay:
    """A message that is to be sent again.

    Attributes:
        letter: what it is sent again from.
        value: what is sent: the original bytes, or mended ones.
        key: the message's key, as the contract makes it; None where the value doesn't say the key's fields.
        rejection: why today's contract would refuse it again; None where it accepts it.
    """

    letter: DeadLetter
    value: bytes
    key: bytes | None
    rejection: str | None


def read_letters(kafka: KafkaResource, choice: Choice, *, value_bytes: int | None = None) -> list[DeadLetter]:
    """Read the topic of dead letters whole, and return the newest letter of each key that is chosen.

    Args:
        kafka: where the topic is.
        choice: which letters; those with a tombstone are not there any more.
        value_bytes: keep so many bytes of each value, since there may be a flood of letters; all by default.

    Returns:
        Letters, the last sent first.

    Raises:
        BrokerError: the broker is away, too slow, or has no such topic.
    """
    found: dict[str, DeadLetter] = {}
    for message in kafka.messages(kafka.name_of(DEAD_LETTERS)):
        letter = _letter(message, value_bytes)
        found.pop(letter.key, None)
        if message.value is not None and choice.takes(letter):
            found[letter.key] = letter
    # Of those of one moment the last in the topic comes first.
    return sorted(found.values(), key=lambda letter: letter.at)[::-1]


def letters_of(kafka: KafkaResource, keys: Sequence[str]) -> list[DeadLetter]:
    """Return the letters with these keys, in the keys' order, each once.

    Raises:
        LetterError: one isn't there.
        BrokerError: the broker is away, too slow, or has no such topic.
    """
    found = {letter.key: letter for letter in read_letters(kafka, Choice(frozenset(keys)))}
    missing = [key for key in dict.fromkeys(keys) if key not in found]
    if missing:
        raise LetterError(
            f"{kafka.name_of(DEAD_LETTERS)} has no letter {', '.join(missing)}, or it was sent again already: "
            "`retail dead-letters list` shows those that it has"
        )
    return [found[key] for key in dict.fromkeys(keys)]


def judge(
    spark: "SparkSession", kafka: KafkaResource, letters: Sequence[DeadLetter], value: bytes | None = None
) -> list[Replay]:
    """Say of each letter what would be sent, and whether today's contract of its topic would accept it.

    Args:
        spark: computes what the contracts say, as the raw layer and the streaming service do.
        kafka: knows whose topics they are.
        letters: what is to be sent again.
        value: mended bytes, instead of the letters' own.

    Returns:
        One replay per letter, in the order in which the messages were stamped: it holds for messages of one key.

    Raises:
        LetterError: a letter is about a topic that no contract knows, or that another tenant owns.
    """
    letters = sorted(letters, key=lambda letter: letter.place)
    by_topic: dict[str, tuple[Topic, list[int]]] = {}
    for number, letter in enumerate(letters):
        by_topic.setdefault(letter.topic, (_topic_of(letter, kafka), []))[1].append(number)
    values = [letter.value if value is None else value for letter in letters]
    judged: dict[int, tuple[str | None, str | None]] = {}
    for topic, numbers in by_topic.values():
        rows = [(number, values[number], letters[number].own_headers or None) for number in numbers]
        judged |= _judged(spark, topic, rows)
    return [
        Replay(letter, values[number], key.encode() if key is not None else None, rejection)
        for number, letter in enumerate(letters)
        for key, rejection in [judged[number]]
    ]


def send_again(kafka: KafkaResource, replays: Sequence[Replay]) -> None:
    """Send messages to the topics that they came from, and then end their letters with tombstones.

    The broker has the messages before it gets the tombstones. After a crash in between the letters are still there, and
    the next replay sends the messages twice: they have the same event id, so the second is known for a repetition.

    Raises:
        BrokerError: the broker is away, has lost a topic or doesn't take a message. Letters that are still listed may
            have been sent; replay them again.
    """
    for topic in {replay.letter.topic for replay in replays}:
        # A producer would wait for a topic that isn't there.
        kafka.state(topic)
    for start in range(0, len(replays), _TOGETHER):
        together = replays[start : start + _TOGETHER]
        for topic in sorted({replay.letter.topic for replay in together}):
            kafka.send(topic, [_message(replay) for replay in together if replay.letter.topic == topic])
        kafka.send(kafka.name_of(DEAD_LETTERS), [Letter(replay.letter.key.encode(), None, []) for replay in together])


def _letter(message: Received, value_bytes: int | None) -> DeadLetter:
    key = (message.key or b"").decode(errors="backslashreplace")
    return DeadLetter(key, message.at, (message.value or b"")[:value_bytes], message.headers)


def _message(replay: Replay) -> Letter:
    headers = [*replay.letter.own_headers, (HEADER_REPLAY_OF, replay.letter.key.encode())]
    return Letter(replay.key, replay.value, headers)


def _topic_of(letter: DeadLetter, kafka: KafkaResource) -> Topic:
    for topic in EVENT_TOPICS:
        if kafka.name_of(topic) == letter.topic:
            return topic
    known = ", ".join(kafka.name_of(topic) for topic in EVENT_TOPICS)
    raise LetterError(f"letter {letter.key} is about the topic {letter.topic!r}, which is none of {known}")


def _judged(
    spark: "SparkSession", topic: Topic, rows: list[tuple[int, bytes, list[tuple[str, bytes]] | None]]
) -> dict[int, tuple[str | None, str | None]]:
    """Return key and rejection of messages of one topic, by their number."""
    # Slow to import, and only a replay needs it.
    from pyspark.sql import functions as F

    from retail_assets.contracts.decoding import decode, rejection

    schema = "number int, value binary, headers array<struct<key: string, value: binary>>"
    event, headers = F.col("event"), F.col("headers")
    fields = [event[name].cast("string") for name in topic.key_fields]
    said = F.lit(True)  # noqa: FBT003
    for field in fields:
        said &= field.isNotNull()
    judged = (
        spark.createDataFrame(rows, schema)
        .withColumn("event", decode(F.col("value"), headers, topic.schema))
        .select("number", F.when(said, F.concat_ws(":", *fields)), rejection(event, headers, topic.schema))
    )
    return {number: (key, reason) for number, key, reason in judged.collect()}
