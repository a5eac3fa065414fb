"""Every setting of the streaming service, in one typed class, read from the environment once and checked at start.

Settings that the platform has too bear the same names and defaults, so that one environment serves both; the service's
own begin with `RETAIL_STREAM_`. Does not belong here: what a setting does.
"""

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Final, Self

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from retail_streaming.errors import SettingsError
from retail_streaming.installation import default_cache_dir, default_var_dir

ENV_PREFIX: Final = "RETAIL_"
#: Of names that begin so, every one is the service's own, or none.
_OWN_PREFIX: Final = "RETAIL_STREAM_"
_ENV_FILE: Final = ".env"
_SECRET_WORDS: Final = ("PASSWORD", "SECRET")
_PASSWORD: Final = "PASSWORD"  # noqa: S105 -- the end of a variable's name

Port = Annotated[int, Field(ge=1, le=65535)]


class StreamingSettings(BaseSettings):
    """What can be set, each by an environment variable `RETAIL_<NAME>` or a line in `.env`."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_file=_ENV_FILE,
        extra="ignore",
        frozen=True,
        validate_default=True,
    )

    var_dir: Path = Field(default_factory=default_var_dir, description="checkpoints, spilled rows, generated passwords")
    cache_dir: Path = Field(default_factory=default_cache_dir, description="holds the verified jars")
    java_home: Path | None = Field(default=None, description="a Java 17+ home; otherwise JAVA_HOME, then the PATH")

    kafka_bootstrap_servers: str = Field(
        default="", pattern=r"^$|^[^\s,:]+:\d+(,[^\s,:]+:\d+)*$", description="host:port,…; empty: the local broker"
    )
    kafka_port: Port = 9092

    clickhouse_host: str = "127.0.0.1"
    clickhouse_port: Port = 8123
    clickhouse_database: str = Field(default="retail", pattern=r"^[a-z][a-z0-9_]*$")
    clickhouse_user: str = "etl"
    clickhouse_password: SecretStr = Field(default=SecretStr(""), description="empty: the local stack's generated one")

    s3_endpoint: str = Field(default="", description="URL of an S3-compatible store; empty means AWS")
    s3_region: str = "us-east-1"
    s3_access_key: str = ""
    s3_secret_key: SecretStr = SecretStr("")

    spark_master: str = Field(
        default="local[*]", pattern=r"^(local(\[[\d*, ]+\])?|yarn|(spark|k8s)://\S+)$", description="where Spark runs"
    )
    spark_driver_memory: str = Field(default="2g", pattern=r"^\d+[kmgt]$")

    stream_checkpoint_uri: str = Field(
        default="", description="file:///… or s3a://bucket/prefix; empty means `checkpoints` in var_dir"
    )
    stream_trigger_seconds: float = Field(default=1.0, ge=0.1, le=3600, description="least time from batch to batch")
    stream_max_offsets_per_trigger: int = Field(default=50_000, ge=1, description="cap of messages in one batch")
    stream_late_minutes: int = Field(
        default=24 * 60,
        ge=1,
        le=366 * 24 * 60,
        description="how far behind the newest event one may be and still correct its hour",
    )
    stream_clock_skew_minutes: int = Field(
        default=15, ge=0, description="how far ahead of this machine's clock an event may be"
    )
    stream_at_once: int = Field(
        default=0, ge=0, description="queries that have a batch at the same time; 0: as many as Spark has cores"
    )
    stream_read_tasks: int = Field(
        default=1, ge=1, description="tasks that read and decode a batch; as many as there are cores for a query"
    )
    stream_state_partitions: int = Field(
        default=1, ge=1, description="parts of the state; fixed when a checkpoint is made"
    )
    stream_patience_seconds: int = Field(
        default=300, ge=0, description="how long the broker or the warehouse may be away before a batch gives up"
    )
    stream_restarts: int = Field(
        default=10, ge=0, description="how often a query may be started again within an hour before it is given up"
    )
    stream_look_seconds: float = Field(
        default=10.0, ge=0, description="least time between two looks for levels of risk and anomalies; 0: none"
    )
    stream_critical_hours: float = Field(default=24.0, gt=0, description="hours of cover below which stock is critical")
    stream_low_hours: float = Field(default=72.0, gt=0, description="hours of cover below which stock is low")
    stream_anomaly_score: float = Field(
        default=5.0, gt=0, description="usual distances from the expected sales of an hour that are an anomaly"
    )
    stream_till_silent_minutes: float = Field(
        default=300.0, gt=0, description="how long an open till may say nothing; more than its heartbeat takes"
    )
    stream_price_overrides: float = Field(
        default=10.0, ge=1, description="prices that may be changed by hand at a till in an hour"
    )
    stream_http_host: str = Field(default="127.0.0.1", min_length=1, description="where health and metrics are served")
    stream_http_port: int = Field(default=8010, ge=0, le=65535, description="0: neither is served")
    stream_spill_after_seconds: float = Field(
        default=30.0, ge=0, description="how long the warehouse may be away before rows are put on this disk instead"
    )
    stream_spill_max_mb: int = Field(default=1024, ge=0, description="bound of these rows; 0: never")

    @field_validator("var_dir", "cache_dir")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().resolve()

    @field_validator("stream_checkpoint_uri")
    @classmethod
    def _supported_scheme(cls, uri: str) -> str:
        if uri and not uri.startswith(("file:///", "s3a://")):
            raise ValueError("should start with file:/// or s3a://")
        return uri.rstrip("/")

    @model_validator(mode="after")
    def _levels_in_order(self) -> Self:
        if self.stream_critical_hours > self.stream_low_hours:
            raise ValueError(
                f"{ENV_PREFIX}STREAM_CRITICAL_HOURS is {self.stream_critical_hours} and should be at most "
                f"{ENV_PREFIX}STREAM_LOW_HOURS, {self.stream_low_hours}"
            )
        return self

    @property
    def bootstrap_servers(self) -> str:
        """Kafka brokers as `host:port,host:port`."""
        return self.kafka_bootstrap_servers or f"127.0.0.1:{self.kafka_port}"

    @property
    def uses_s3(self) -> bool:
        """Whether checkpoints lie in an object store."""
        return self.stream_checkpoint_uri.startswith("s3a://")

    @property
    def jar_groups(self) -> list[str]:
        """The groups of the jars' lock that the service needs."""
        return ["spark", "s3"] if self.uses_s3 else ["spark"]

    def checkpoint_of(self, query: str) -> str:
        """Return where a query keeps what it has read and its state, as a URI."""
        return f"{self.stream_checkpoint_uri or (self.var_dir / 'checkpoints').as_uri()}/{query}"

    @property
    def spill_dir(self) -> Path:
        """Where rows wait while the warehouse is away."""
        return self.var_dir / "spill"

    @property
    def warehouse_password(self) -> str:
        """The writer's password: the setting, or the one that the local stack generated.

        Raises:
            SettingsError: neither is there.
        """
        if self.clickhouse_password.get_secret_value():
            return self.clickhouse_password.get_secret_value()
        secret = self.var_dir / "secrets" / f"clickhouse_{self.clickhouse_user}"
        try:
            return secret.read_text(encoding="utf-8").strip()
        except OSError:
            raise SettingsError(
                f"{ENV_PREFIX}CLICKHOUSE_{_PASSWORD} is not set and {secret} does not exist: set the variable, "
                "or run `retail up`, which generates the local passwords"
            ) from None


def _unknown_names() -> list[str]:
    """Return a line for each name that begins like one of the service's own settings and is none."""
    known = [ENV_PREFIX + name.upper() for name in StreamingSettings.model_fields]
    lines = []
    for name in sorted({name.upper() for name in (*os.environ, *dotenv_values(_ENV_FILE))}):
        if name.startswith(_OWN_PREFIX) and name not in known:
            near = get_close_matches(name, known, n=1)
            lines.append(f"{name} is no setting" + (f": did you mean {near[0]}?" if near else ""))
    return lines


def load_settings() -> StreamingSettings:
    """Read and check the settings.

    Raises:
        SettingsError: one line for each variable that is wrong, or is none.
    """
    unknown = _unknown_names()
    if unknown:
        raise SettingsError("\n".join(unknown))
    try:
        return StreamingSettings()
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            if not problem["loc"]:
                lines.append(problem["msg"].removeprefix("Value error, "))
                continue
            name = ENV_PREFIX + "_".join(str(part) for part in problem["loc"]).upper()
            shown = "(hidden)" if any(word in name for word in _SECRET_WORDS) else repr(problem["input"])
            lines.append(f"{name} is {shown}: {problem['msg'].removeprefix('Value error, ')}")
        raise SettingsError("\n".join(lines)) from None
