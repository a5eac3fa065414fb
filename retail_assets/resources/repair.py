"""What an operator asks and decides about a topic and its raw table: how it stands, adopt it, acknowledge a loss.

A decision is a commit of the raw table without rows, numbered as a batch: it is as lasting as what was read, and a run
that works at the same moment can't overwrite it. Does not belong here: the arithmetic (`offsets`) and showing it (the
`retail` command).
"""

from dataclasses import dataclass

from retail_assets.contracts.tables import raw_table
from retail_assets.contracts.topics import EVENT_TOPICS, Topic
from retail_assets.resources.kafka import KafkaResource, TopicMissingError
from retail_assets.resources.lake import LakeResource
from retail_assets.resources.offsets import Progress, TopicResetError, TopicState, range_after
from retail_assets.resources.progress import read_progress, record

#: No cap: all that waits counts.
_ALL = 2**63 - 1


class RepairError(Exception):
    """There is nothing to decide, or no such topic. The message says why; nothing was changed."""


@dataclass(frozen=True)
class TopicStanding:
    """How a topic and its raw table stand to each other.

    Attributes:
        topic: the topic's name.
        waiting: events that the table doesn't hold yet; None where nothing can be read.
        problems: what asks for somebody, in words.
    """

    topic: str
    waiting: int | None
    problems: list[str]

    def __str__(self) -> str:
        """Return the lines to show."""
        waiting = "nothing is read" if self.waiting is None else f"{self.waiting:,} events waiting"
        return "\n".join([f"{self.topic}: {waiting}", *(f"  {problem}" for problem in self.problems)])


def event_topic(name: str) -> Topic:
    """Return a topic by its name.

    Raises:
        RepairError: there is no such topic of events.
    """
    for topic in EVENT_TOPICS:
        if topic.name == name:
            return topic
    raise RepairError(f"{name} is no topic of events: choose one of {', '.join(topic.name for topic in EVENT_TOPICS)}")


def standing(topic: Topic, kafka: KafkaResource, lake: LakeResource) -> TopicStanding:
    """Return how a topic and its raw table stand to each other.

    Raises:
        BrokerError: the broker is away.
    """
    name = kafka.name_of(topic)
    progress = read_progress(lake.delta(raw_table(topic)))
    acknowledge = f"`retail topics acknowledge {topic.name} --note TEXT` says that you know"
    problems = [f"lost: {gap}; {acknowledge}" for gap in progress.open_gaps]
    try:
        span = range_after(progress, name, kafka.state(name), limit=_ALL)
    except (TopicMissingError, TopicResetError) as error:
        return TopicStanding(name, None, [*problems, str(error)])
    if span.lost:
        problems.append(f"lost, and recorded by the next run: {span.losses()}")
    return TopicStanding(name, span.waiting, problems)


def adopt(topic: Topic, kafka: KafkaResource, lake: LakeResource) -> str:
    """Go on with a topic that was made anew or has lost its end; all rows stay.

    Returns:
        What will happen now, in words.

    Raises:
        RepairError: the topic is the one that the table was read from.
        BrokerError: the broker is away or has no such topic.
        ConcurrentIngestError: a run wrote the table at the same moment.
    """
    delta = lake.delta(raw_table(topic))
    progress = read_progress(delta)
    name = kafka.name_of(topic)
    state = kafka.state(name)
    if delta is None or not _contradicts(progress, name, state):
        raise RepairError(f"{topic.name} is the topic that the raw table was read from: there is nothing to adopt")
    adopted = progress.adopting(state)
    record(delta, name, adopted)
    span = range_after(adopted, name, state, limit=_ALL)
    lost = f" The broker has deleted already: {span.losses()}." if span.lost else ""
    return (
        f"{topic.name} is adopted: the next run reads the {span.waiting:,} events that the topic holds, and counts "
        f"their offsets on from what the table has.{lost} What the topic held before and nobody had read is gone"
    )


def acknowledge(topic: Topic, lake: LakeResource, note: str) -> str:
    """Note that somebody knows of a topic's losses; the alarm ends with the next run.

    Args:
        topic: which topic.
        lake: where its raw table lies.
        note: what is to be remembered of it, such as a name and a cause.

    Returns:
        What was acknowledged, in words.

    Raises:
        RepairError: there is no loss that nobody has acknowledged, or the note is empty.
        ConcurrentIngestError: a run wrote the table at the same moment.
    """
    if not note.strip():
        raise RepairError("the note is empty: say who knows of the loss, and what it came from")
    delta = lake.delta(raw_table(topic))
    progress = read_progress(delta)
    gaps = progress.open_gaps
    if delta is None or not gaps:
        raise RepairError(f"{topic.name} has no loss that waits to be acknowledged")
    record(delta, topic.name, progress.acknowledged(note.strip()))
    return "\n".join(f"{topic.name}: acknowledged {gap}" for gap in gaps)


def _contradicts(progress: Progress, name: str, state: TopicState) -> bool:
    try:
        range_after(progress, name, state, limit=_ALL)
    except TopicResetError:
        return True
    return False
