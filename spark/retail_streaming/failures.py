"""Why a query ended, in one line: Spark's exceptions sorted into what passes and what a person must mend.

Does not belong here: what is done about it (`service`).
"""

import re
from typing import Final

from retail_streaming.errors import StreamingError, TransientError, UnknownError, first_line

# Kafka's client gives up after its own time-outs; these are its words for a broker that is away or just coming up.
_BROKER_AWAY: Final = re.compile(
    r"org\.apache\.kafka\.common\.errors\.(Timeout|Disconnect|Network|CoordinatorNotAvailable|LeaderNotAvailable"
    r"|NotLeaderOrFollower|NotController|BrokerNotAvailable|RetriableException)\w*"
    r"|Failed to create new KafkaAdminClient|Timed out waiting for a node assignment"
)
_DATA_LOSS: Final = re.compile(
    r"KAFKA_DATA_LOSS|failOnDataLoss|data may have been lost|OffsetOutOfRange|UnknownTopicOrPartition"
)
_NOISE: Final = ("=== Streaming Query ===", "Identifier:", "[STREAM_FAILED]", "at ", "JVM stacktrace:")


def explain(text: str, *, query: str, topic: str, checkpoint: str) -> StreamingError:
    """Return what a query's exception means.

    Args:
        text: the exception with its causes and stack.
        query: its name.
        topic: what it reads.
        checkpoint: where its state is.
    """
    if _DATA_LOSS.search(text):
        return StreamingError(
            f"{query}: topic {topic} no longer has messages that were not read yet (it was made anew, or they are past "
            f"its retention), and none is skipped in silence: to go on with what the topic has, move {checkpoint} away"
        )
    if _BROKER_AWAY.search(text):
        return TransientError(f"{query}: the Kafka broker is away")
    return UnknownError(f"{query} failed ({first_line(text, without=_NOISE)}): its checkpoint is {checkpoint}")
