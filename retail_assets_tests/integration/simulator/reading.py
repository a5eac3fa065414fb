"""What a topic holds, read by the plainest means."""

from typing import Any

from confluent_kafka import Consumer, TopicPartition

from retail_assets.contracts.topics import Topic


def on_topic(servers: str, topic: Topic) -> dict[int, list[tuple[bytes, bytes, int, dict[str, bytes]]]]:
    """Read a whole topic: key, value, sequence and headers of each message, by partition."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "tests", "enable.auto.commit": False})
    found: dict[int, list[tuple[bytes, bytes, int, dict[str, bytes]]]] = {}
    try:
        for partition in consumer.list_topics(topic.name, timeout=20).topics[topic.name].partitions:
            place = TopicPartition(topic.name, partition)
            low, high = consumer.get_watermark_offsets(place, timeout=20)
            consumer.assign([TopicPartition(topic.name, partition, low)])
            messages = found.setdefault(partition, [])
            while len(messages) < high - low:
                for message in consumer.consume(5_000, timeout=0.3):
                    assert message.error() is None
                    headers: dict[str, Any] = dict(message.headers() or [])
                    messages.append((message.key() or b"", message.value() or b"", int(headers["sequence"]), headers))
    finally:
        consumer.close()
    return found
