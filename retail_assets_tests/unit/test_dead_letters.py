"""What dead letters are called, how they are shown, and what the commands refuse before anybody is asked."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from retail_assets.cli import main
from retail_assets.contracts.letters import letter_key, place_of
from retail_assets.dead_letters import lines_of, printable
from retail_assets.resources.letters import Choice, DeadLetter

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
LETTER = DeadLetter(
    "pos-events-1-17@1767268800000",
    NOW,
    b"?",
    (("trace", b"T1"), ("replay_of", b"pos-events-0-3"), ("reason", b"kind is missing"), ("topic", b"pos-events")),
)


@pytest.mark.parametrize("key", ["pos-events-0-17", "my_shop.sales-transactions-12-0", "t-0-0"])
@pytest.mark.parametrize("time", ["", "@1767268800000", "@-1"])
def test_a_key_is_topic_partition_and_offset_and_time_but_for_letters_of_earlier_releases(key: str, time: str) -> None:
    assert letter_key(key + time) == key + time
    place = place_of(key + time)
    assert place is not None
    assert f"{place.topic}-{place.partition}-{place.offset}" == key
    assert place.time == (int(time[1:]) if time else None)


@pytest.mark.parametrize(
    "key",
    ["", "pos-events", "pos-events-0", "-0-1", "pos-events-0-x", "a b-0-1", "t-0-1\n", "t-0-1@", "t-0-1@x", "t-0@1"],
)
def test_another_key_is_refused_with_an_example(key: str) -> None:
    with pytest.raises(ValueError, match="they look like pos-events-0-17"):
        letter_key(key)


def test_a_letter_is_chosen_by_all_that_was_said() -> None:
    assert Choice().takes(LETTER)
    assert Choice(frozenset({LETTER.key}), "pos-events", "KIND is", NOW).takes(LETTER)
    for other in (
        Choice(frozenset()),
        Choice(topic="events"),
        Choice(reason="kinds"),
        Choice(since=NOW + timedelta(seconds=1)),
    ):
        assert not other.takes(LETTER)


def test_messages_of_a_topic_that_was_made_anew_are_in_order_by_their_time() -> None:
    keys = ["t-0-9", "t-0-12", "t-0-8@1000", "t-0-9@1000", "t-0-2@2000", "t-1-0@1000", "u-0-0"]
    letters = [DeadLetter(key, NOW, b"", ()) for key in keys]
    shuffled = random.Random(1).sample(letters, len(letters))  # noqa: S311 -- the same order each time
    assert sorted(shuffled, key=lambda one: one.place) == letters


def test_a_message_is_sent_again_with_the_headers_that_it_came_with_alone() -> None:
    assert LETTER.own_headers == [("trace", b"T1")]
    assert DeadLetter("t-0-1", NOW, b"", ()).reason == ""


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        (b'{"a": [1, "\xc3\xa9"]}', ["{", '  "a": [', "    1,", '    "\u00e9"', "  ]", "}"]),
        (b"two\nlines", ["two", "lines"]),
        (b"", []),
        (b"\xff\x00A", ["00000000  ff 00 41" + " " * 41 + "..A"]),
        (b"\x1b[2J", ["00000000  1b 5b 32 4a" + " " * 38 + ".[2J"]),
        (b'"\xc2\x9b2J"', ['"\\x9b2J"']),
    ],
)
def test_a_value_is_shown_as_json_as_text_or_in_hex_and_never_moves_the_cursor(value: bytes, lines: list[str]) -> None:
    assert list(lines_of(value)) == lines


def test_a_text_is_shown_in_one_line() -> None:
    assert printable("caf\u00e9\n\x1b[31m") == "caf\u00e9\\n\\x1b[31m"


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("show pos-events", "they look like pos-events-0-17"),
        ("show pos-events-0-1 --value EMPTY", "is there already, and is not overwritten"),
        ("replay", "say which letters: either KEY"),
        ("replay pos-events-0-1 --all", "say which letters: either KEY"),
        ("replay --all --reason x", "say which letters: either KEY"),
        ("replay pos-events-0-1 pos-events-0-2 --value EMPTY", "for one letter: name its KEY"),
        ("replay --all --value EMPTY", "for one letter: name its KEY"),
        ("replay pos-events-0-1 --value EMPTY", "is empty"),
        ("replay pos-events-0-1 --value MISSING", "can't be read: No such file"),
        ("replay --topic pos", "pos is no topic of events: choose one of sales-transactions"),
        ("list --topic dead-letters", "dead-letters is no topic of events"),
        ("list --since yesterday", "does not match the formats"),
    ],
)
def test_bad_input_is_refused_in_one_sentence_before_the_broker_is_asked(
    words: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETAIL_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    (tmp_path / "EMPTY").touch()
    files = {name: str(tmp_path / name) for name in ("EMPTY", "MISSING")}
    result = CliRunner().invoke(main, ["dead-letters", *(files.get(word, word) for word in words.split())])
    assert result.exit_code != 0
    assert isinstance(result.exception, SystemExit)
    assert wrong in result.output.replace("\n", " ")
