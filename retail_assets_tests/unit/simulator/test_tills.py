"""What a producer decides without a broker: partitions, whose message it is, and what to say when nobody answers."""

import socket

import pytest

from retail_assets.contracts.topics import POS_EVENTS
from retail_assets.simulator.tills.day_producer import ProducerError, TillProducer
from retail_assets.simulator.tills.messages import Message
from retail_assets.simulator.tills.partitioning import murmur2, partition_of
from retail_assets.simulator.tills.readback import sequence_of


@pytest.mark.parametrize(
    ("key", "expected"),
    # Published by Kafka itself, in its own unit test of this hash.
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_keys_are_hashed_as_kafka_does(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected & 0xFFFFFFFF


def test_a_key_always_has_the_same_partition() -> None:
    places = {partition_of(f"S{number:03d}".encode(), 4) for number in range(100)}
    assert places == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("producer", b"me"), ("sequence", b"12")], 12),
        ([("sequence", b"12")], None),
        ([("producer", b"you"), ("sequence", b"12")], None),
        ([("producer", b"me"), ("sequence", b"twelve")], None),
        ([("producer", b"me"), ("sequence", b"9223372036854775807")], 2**63 - 1),
        ([("producer", b"me"), ("sequence", b"9223372036854775808")], None),
        ([("producer", b"me"), ("sequence", b"9" * 5_000)], None),
        ([("producer", b"me"), ("sequence", None)], None),
        ([("producer", b"me")], None),
        ([("producer", b"me"), ("sequence", b"12"), ("replay_of", b"pos-events-0-17")], None),
        (None, None),
    ],
)
def test_only_whole_numbers_of_the_same_producer_count_and_no_replays(headers: object, expected: int | None) -> None:
    assert sequence_of(headers, b"me") == expected


def test_an_absent_broker_is_named_with_what_to_do() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    message = Message(b"S001", b"{}", (("producer", b"me"), ("sequence", b"0")), 0)
    with pytest.raises(ProducerError, match=rf"no Kafka broker answers at 127\.0\.0\.1:{port}: is the stack up\?"):
        TillProducer(f"127.0.0.1:{port}", timeout_s=1.0).send(POS_EVENTS, [message])


def test_nothing_to_send_needs_no_broker() -> None:
    assert TillProducer("nowhere:1").send(POS_EVENTS, []) == 0
