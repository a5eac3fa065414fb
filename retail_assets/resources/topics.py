"""The settings of the Kafka topics, read from `infra/kafka/topics.toml`.

Belongs here: the file's format, its limits, and which setting of the broker stands for which field. Does not belong
here: what a topic carries (contracts) and asking or telling a broker (`kafka`).
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from retail_assets.contracts.topics import TOPICS
from retail_assets.paths import infra_dir
from retail_assets.settings import Mode

_HOUR_MS: Final = 60 * 60 * 1_000
_FOREVER: Final = -1
#: The broker's settings that the file decides. One of these that a topic has, but the file doesn't give it, goes back
#: to the broker's default; all others are an operator's own and are left alone.
MANAGED: Final = frozenset(
    {"cleanup.policy", "retention.ms", "max.compaction.lag.ms", "min.insync.replicas", "max.message.bytes"}
)

_Count = Annotated[int, Field(strict=True, ge=1, le=10_000)]
_Copies = Annotated[int, Field(strict=True, ge=1, le=32)]


class TopicFileError(Exception):
    """The file of topics is wrong. The message names the field and says what it should be."""


@dataclass(frozen=True)
class TopicSettings:
    """How one topic is kept.

    Attributes:
        partitions: how many.
        replication: copies of each partition.
        config: the broker's settings of the topic, by the broker's names; those of `MANAGED` alone.
        source: where that is said, for messages.
    """

    partitions: int
    replication: int
    config: dict[str, str]
    source: str = field(default="its settings", compare=False)


class _Entry(BaseModel):
    """A topic's table, or a mode's: what a field says is explained in the file itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    partitions: _Count | None = None
    replication: _Copies | None = None
    min_in_sync: _Copies | None = None
    cleanup: Literal["delete", "compact"] | None = None
    retention_days: Annotated[int, Field(strict=True, ge=0, le=36_500)] | None = None
    compaction_lag_hours: _Count | None = None
    max_message_kib: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    modes: dict[Mode, _Entry] = Field(default_factory=dict)
    topics: dict[str, _Entry]


def topics_file() -> Path:
    """Return where the settings lie that ship with the code."""
    return infra_dir() / "kafka" / "topics.toml"


def read_topic_settings(mode: Mode, path: Path | None = None) -> dict[str, TopicSettings]:
    """Read the settings of every topic of the contracts.

    Args:
        mode: the way to run; its table holds what the topics' own tables don't say.
        path: another file than the one that ships with the code.

    Returns:
        Settings by the topic's name, in the contracts' order.

    Raises:
        TopicFileError: the file can't be read; it lacks a topic or has one that no contract knows; or a field is
            missing, unknown, of the wrong type, out of its limits or at odds with another.
    """
    path = path or topics_file()
    content = _parsed(path)
    names = [topic.name for topic in TOPICS]
    for name in content.topics:
        if name not in names:
            raise TopicFileError(f"{path}: topics.{name} is not a topic of the contracts: {', '.join(names)}")
    of_mode = content.modes.get(mode, _Entry()).model_dump(exclude_none=True)
    settings: dict[str, TopicSettings] = {}
    for name in names:
        if name not in content.topics:
            raise TopicFileError(f"{path}: topics.{name} is missing")
        values = of_mode | content.topics[name].model_dump(exclude_none=True)
        settings[name] = _settings(f"{path}: topics.{name}", path, mode, values)
    return settings


def _parsed(path: Path) -> _File:
    try:
        return _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise TopicFileError(f"{path} can't be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TopicFileError(f"{path} is not TOML: {error}") from None
    except ValidationError as error:
        raise TopicFileError("\n".join(f"{path}: {_explained(dict(problem))}" for problem in error.errors())) from None


def _explained(problem: dict[str, Any]) -> str:
    # A key of a mapping that is itself wrong is told by pydantic as [key].
    name = ".".join(str(part) for part in problem["loc"] if part != "[key]")
    if problem["type"] == "extra_forbidden":
        return f"{name} is not a known field"
    wanted = problem["msg"].removeprefix("Input ").removeprefix("Field ")
    return f"{name} {wanted}" if problem["type"] == "missing" else f"{name} is {problem['input']!r}: it {wanted}"


def _settings(where: str, path: Path, mode: Mode, values: dict[str, Any]) -> TopicSettings:
    for name in ("partitions", "replication", "min_in_sync", "cleanup"):
        if name not in values:
            raise TopicFileError(f"{where}.{name} is missing, and so is modes.{mode}.{name}")
    if values["min_in_sync"] > values["replication"]:
        raise TopicFileError(
            f"{where}.min_in_sync is {values['min_in_sync']} in mode {mode}: it should be at most replication, "
            f"which is {values['replication']}, or no message is ever taken"
        )
    config = {"cleanup.policy": str(values["cleanup"]), "min.insync.replicas": str(values["min_in_sync"])}
    wanted, unused = ("retention_days", "compaction_lag_hours")[:: 1 if values["cleanup"] == "delete" else -1]
    if unused in values:
        raise TopicFileError(f"{where}.{unused} means nothing with cleanup {values['cleanup']!r}: use {wanted}")
    if values["cleanup"] == "delete":
        if "retention_days" not in values:
            raise TopicFileError(f"{where}.retention_days is missing: with cleanup 'delete' it must be said")
        days = values["retention_days"]
        config["retention.ms"] = str(days * 24 * _HOUR_MS if days else _FOREVER)
    if "compaction_lag_hours" in values:
        config["max.compaction.lag.ms"] = str(values["compaction_lag_hours"] * _HOUR_MS)
    if "max_message_kib" in values:
        config["max.message.bytes"] = str(values["max_message_kib"] * 1_024)
    return TopicSettings(values["partitions"], values["replication"], config, str(path))
