"""Whether a topic's waiting events deserve a run now, and the words for it.

Belongs here: the rule, as a pure function. Does not belong here: finding out what waits (`sensors.kafka`).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class BatchRule:
    """When to start a run: for many events at once, for few after a while.

    Attributes:
        events: start when so many wait.
        wait_s: or when the oldest has waited so many seconds.
    """

    events: int
    wait_s: float


@dataclass(frozen=True)
class Backlog:
    """What the broker has of a topic that the raw table hasn't.

    Attributes:
        topic: the topic's name.
        events: how many wait.
        oldest_s: seconds since the oldest was stamped, below zero for a stamp that lies ahead; None if nobody knows.
        lost: in words, what the broker deleted unread; empty where nothing.
    """

    topic: str
    events: int
    oldest_s: float | None = None
    lost: str = ""


@dataclass(frozen=True)
class Decision:
    """What to do, and why.

    Attributes:
        start: whether to ask for a run.
        reason: in words, beginning with the topic.
    """

    start: bool
    reason: str


def age_matters(backlog: Backlog, rule: BatchRule) -> bool:
    """Return whether the decision depends on the age of the oldest event."""
    return not backlog.lost and 0 < backlog.events < rule.events


def decide(backlog: Backlog, rule: BatchRule) -> Decision:
    """Decide whether a topic needs a run now.

    No event waits for ever: one without a stamp, or stamped farther ahead than the waiting time, starts a run at once,
    since nothing else would say when it has waited enough.
    """
    start, why = _judge(backlog, rule)
    return Decision(start, f"{backlog.topic}: {why}")


def _judge(backlog: Backlog, rule: BatchRule) -> tuple[bool, str]:
    waiting = f"{backlog.events:,} {'event' if backlog.events == 1 else 'events'} waiting"
    age = backlog.oldest_s
    if backlog.lost:
        # The alarm must not wait for a batch.
        return True, f"{waiting}, events were lost: {backlog.lost}"
    if backlog.events == 0:
        return False, "no new events"
    if backlog.events >= rule.events:
        return True, waiting
    if age is None:
        return True, f"{waiting}, of unknown age"
    if age < -rule.wait_s:
        return True, f"{waiting}, stamped {-age:,.0f} s ahead of this clock"
    limits = f"batch starts at {rule.events:,} or {rule.wait_s:g} s"
    return age >= rule.wait_s, f"{waiting}, oldest {max(age, 0):,.0f} s, {limits}"
