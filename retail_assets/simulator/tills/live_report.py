"""What is said of a live stream: while it runs, at its end, and when it breaks off.

Belongs here: the figures and their wording. Does not belong here: how they come about (`live`).
"""

from dataclasses import dataclass
from datetime import date, datetime

from retail_assets.simulator.tills.dirt import DirtCounts
from retail_assets.simulator.tills.producers import ProducerError


class LiveError(ProducerError):
    """The stream broke off. The message says what the broker has; starting it again goes on from there.

    Attributes:
        report: what was sent until then.
    """

    def __init__(self, message: str, report: "LiveReport") -> None:
        """Take the message and the report."""
        super().__init__(message)
        self.report = report


@dataclass(frozen=True)
class LiveProgress:
    """How a stream is doing.

    Attributes:
        stream_time: up to when the stream's messages were offered to the broker; None before the first.
        offered: messages offered in this run.
        confirmed: messages of this run that the broker has.
        waits: messages that had to wait because the buffer was full.
    """

    stream_time: datetime | None
    offered: int
    confirmed: int
    waits: int


@dataclass(frozen=True)
class LiveReport:
    """What one run of a stream did.

    Attributes:
        producer: the stream's name, as in the `producer` header.
        since: the business date that the stream began with.
        sent: messages of this run that the broker has confirmed, by topic.
        unconfirmed: messages of this run that the broker may have or not; 0 unless the run broke off.
        found: messages, among those that this run made, that earlier runs had sent.
        waits: messages that had to wait because the buffer was full.
        seconds: how long the run took.
        stream_time: up to when everything was sent; None if nothing was.
        stopped: whether it was told to stop, before the end.
        to_come: messages of the last day that are due after the run's end.
    """

    producer: str
    since: date
    sent: dict[str, DirtCounts]
    unconfirmed: int
    found: int
    waits: int
    seconds: float
    stream_time: datetime | None
    stopped: bool
    to_come: int

    @property
    def total(self) -> DirtCounts:
        """Messages of all topics."""
        return sum(self.sent.values(), DirtCounts())

    @property
    def events_per_s(self) -> float:
        """Messages confirmed in a second of the run."""
        return self.total.messages / self.seconds if self.seconds else 0.0

    def lines(self) -> list[str]:
        """Return what to show at the end."""
        lines = [f"{name}: {counts}" for name, counts in self.sent.items()]
        lines.append(f"sent {self.total.messages:,} messages in {self.seconds:,.1f} s, all confirmed by the broker")
        if self.unconfirmed:
            lines[-1] = (
                f"{self.total.messages:,} messages confirmed, {self.unconfirmed:,} more offered of which nobody knows"
            )
        if self.found:
            lines.append(f"{self.found:,} messages were there from an earlier run")
        if self.waits:
            lines.append(f"{self.waits:,} messages had to wait because the buffer was full")
        if self.to_come:
            lines.append(
                f"{self.to_come:,} messages of the last day are due after the end: a later --until sends them too"
            )
        return lines
