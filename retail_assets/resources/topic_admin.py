"""Bringing a broker's topics to their settings: what is missing is made, what differs is changed, and told.

Belongs here: comparing, deciding and the calls to the broker. Does not belong here: what the settings are (`topics`)
and opening clients (`kafka`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kafka import KafkaAdminClient
from kafka.admin import AlterConfigOp, ConfigResource, ConfigResourceType, ConfigSourceType
from kafka.errors import NoError, TopicAlreadyExistsError, for_code

from retail_assets.resources.topics import MANAGED, TopicSettings

_TIMEOUT_MS: Final = 15_000
# As kafka-python words its answers.
_TOPIC_TYPE: Final = ConfigResourceType.TOPIC.name.lower()
_DONE: Final = "OK"


class TopicChangeError(Exception):
    """A topic can't be brought to its settings, or the broker refuses. The message says which and what to do."""


@dataclass(frozen=True)
class TopicState:
    """A topic as the broker has it.

    Attributes:
        partitions: how many.
        replication: copies of the partition that has fewest.
        config: the settings that were made for the topic itself, not the broker's defaults.
    """

    partitions: int
    replication: int
    config: dict[str, str]


@dataclass(frozen=True)
class TopicChange:
    """One thing that was changed.

    Attributes:
        topic: name of the topic.
        what: `created`, or what became of which setting.
    """

    topic: str
    what: str

    def __str__(self) -> str:
        """Return the line to show."""
        return f"{self.topic}: {self.what}"


@dataclass(frozen=True)
class _Plan:
    """What brings one topic that is there to its settings; an absent value takes a setting back to its default."""

    partitions: int | None
    config: dict[str, str | None]
    changes: tuple[TopicChange, ...]


def apply_topics(admin: KafkaAdminClient, wanted: Mapping[str, TopicSettings]) -> list[TopicChange]:
    """Create the topics that are missing and bring the others to their settings; those not named are left alone.

    Every topic is looked at, and the broker is asked about every change, before any is made: an impossible wish changes
    nothing.

    Returns:
        What was changed, in the order of `wanted`; nothing if all was as wanted.

    Raises:
        TopicChangeError: a topic has more partitions, or another number of copies, than wanted; or the broker refuses
            a topic, more partitions or a setting.
        KafkaError: the broker is away.
    """
    states = read_states(admin, wanted)
    plans = {name: plan_change(name, states[name], wanted[name]) for name in wanted if name in states}
    for name, settings in wanted.items():
        if name in plans:
            _carry_out(admin, name, plans[name], settings, validate_only=True)
        else:
            _create(admin, name, settings, validate_only=True)
    changes: list[TopicChange] = []
    for name, settings in wanted.items():
        if name in plans:
            _carry_out(admin, name, plans[name], settings)
            changes.extend(plans[name].changes)
        elif _create(admin, name, settings):
            shown = ", ".join(f"{key} {value}" for key, value in sorted(settings.config.items()))
            changes.append(
                TopicChange(
                    name,
                    f"created with {_many(settings.partitions, 'partition')}, replication "
                    f"{settings.replication}, {shown}",
                )
            )
    return changes


def plan_change(name: str, state: TopicState, settings: TopicSettings) -> _Plan:
    """Return what brings a topic to its settings.

    Raises:
        TopicChangeError: nothing does.
    """
    if settings.partitions < state.partitions:
        raise TopicChangeError(
            f"topic {name} has {state.partitions} partitions and should have {settings.partitions}: Kafka can't take "
            f"partitions away. Raise partitions in {settings.source}, or move the events to a new topic"
        )
    if settings.replication != state.replication:
        raise TopicChangeError(
            f"topic {name} has {_many(state.replication, 'copy', 'copies')} of each partition and should have "
            f"{settings.replication}: correct replication in {settings.source}, or move the copies first with Kafka's "
            "own kafka-reassign-partitions"
        )
    changes: list[TopicChange] = []
    grown = settings.partitions if settings.partitions > state.partitions else None
    if grown:
        changes.append(TopicChange(name, f"partitions {state.partitions} -> {grown} (keys move to other partitions)"))
    config: dict[str, str | None] = {}
    for key in sorted(MANAGED & (settings.config.keys() | state.config.keys())):
        now, then = state.config.get(key), settings.config.get(key)
        if now != then:
            config[key] = then
            changes.append(TopicChange(name, f"{key} {now or 'default'} -> {then or 'default'}"))
    return _Plan(grown, config, tuple(changes))


def read_states(admin: KafkaAdminClient, names: Mapping[str, Any]) -> dict[str, TopicState]:
    """Return those of the topics that exist, as the broker has them."""
    known = set(admin.list_topics())
    present = [name for name in names if name in known]
    if not present:
        return {}
    described = admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, name) for name in present], config_filter="all"
    )[_TOPIC_TYPE]
    own = ConfigSourceType.DYNAMIC_TOPIC_CONFIG.name
    return {
        topic["name"]: TopicState(
            partitions=len(topic["partitions"]),
            replication=min(len(partition["replica_nodes"]) for partition in topic["partitions"]),
            config={
                key: str(entry["value"])
                for key, entry in described[topic["name"]].items()
                if entry["config_source"] == own
            },
        )
        for topic in admin.describe_topics(present)
    }


def _create(admin: KafkaAdminClient, name: str, settings: TopicSettings, *, validate_only: bool = False) -> bool:
    """Create a topic, or ask whether that would do; false if somebody else did so in the meantime."""
    wish = {
        "num_partitions": settings.partitions,
        "replication_factor": settings.replication,
        "configs": settings.config,
    }
    answer = admin.create_topics({name: wish}, timeout_ms=_TIMEOUT_MS, validate_only=validate_only, raise_errors=False)[
        "topics"
    ][0]
    if for_code(answer["error_code"]) is TopicAlreadyExistsError:
        return False
    _require_done(name, "to create it", answer["error_code"], answer["error_message"], settings)
    if not validate_only:
        # The controller answers before the brokers know: whoever sends next would find no topic.
        admin.wait_for_topics([name], timeout_ms=_TIMEOUT_MS)
    return True


def _carry_out(
    admin: KafkaAdminClient, name: str, plan: _Plan, settings: TopicSettings, *, validate_only: bool = False
) -> None:
    if plan.config:
        _alter(admin, name, plan.config, settings, validate_only=validate_only)
    if plan.partitions:
        (answer,) = admin.create_partitions(
            {name: plan.partitions}, timeout_ms=_TIMEOUT_MS, validate_only=validate_only, raise_errors=False
        ).results
        _require_done(
            name, f"to grow it to {plan.partitions} partitions", answer.error_code, answer.error_message, settings
        )


def _require_done(name: str, wish: str, code: int, said: str | None, settings: TopicSettings) -> None:
    error = for_code(code)
    if error is not NoError:
        raise TopicChangeError(
            f"topic {name}: the broker refuses {wish}: {said or error.__name__}. Correct {settings.source}"
        )


def _alter(
    admin: KafkaAdminClient,
    name: str,
    config: Mapping[str, str | None],
    settings: TopicSettings,
    *,
    validate_only: bool,
) -> None:
    """Change settings of a topic one by one, leaving all others as they are; or ask whether that would do."""
    wishes = {
        key: (AlterConfigOp.DELETE, None) if value is None else (AlterConfigOp.SET, value)
        for key, value in config.items()
    }
    answers = admin.alter_configs(
        [ConfigResource(ConfigResourceType.TOPIC, name, wishes)], validate_only=validate_only, incremental=True
    )
    answer = answers[_TOPIC_TYPE][name]
    if answer != _DONE:
        raise TopicChangeError(
            f"topic {name}: the broker refuses {', '.join(sorted(config))}: {answer}. Correct {settings.source}"
        )


def _many(count: int, one: str, more: str = "") -> str:
    return f"{count} {one if count == 1 else more or one + 's'}"
