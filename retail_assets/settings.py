"""Every setting of the platform, in one typed class, read from the environment once and checked at start.

Belongs here: names, types, defaults and limits of settings, and the one error that explains a wrong one. No other
module reads the environment (the streaming service has its own class of the same shape). Does not belong here: what
a setting does.
"""

import functools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final
from zoneinfo import ZoneInfo, available_timezones

from dotenv import dotenv_values
from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from retail_assets.contracts.thresholds import ThresholdsError, load_thresholds
from retail_assets.paths import project_root

ENV_PREFIX: Final = "RETAIL_"
#: Variables with the prefix that are not settings of the platform: the streaming service's own, and marks of processes.
_NOT_OURS: Final = ("RETAIL_STREAM_", "RETAIL_STACK")
#: The folder, in a lake or on this machine, that holds one folder for each tenant.
TENANTS: Final = "tenants"
#: Of the checkout, not of the folder that a command happens to be typed in.
_ENV_FILE: Final = project_root() / ".env"


class SettingsError(Exception):
    """A setting is missing or wrong. The message names each variable and says what it should be."""


class Mode(StrEnum):
    """The three ways to run the platform; only settings differ between them."""

    LOCAL = "local"
    COMPOSE = "compose"
    CLUSTER = "cluster"


class Orchestrator(StrEnum):
    """Who starts the scheduled jobs. Never both."""

    DAGSTER = "dagster"
    AIRFLOW = "airflow"


def _real_date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError("should be a date such as 2025-01-01") from None


def _known_time_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("should be an IANA time zone such as Europe/Berlin")
    return name


Port = Annotated[int, Field(ge=1, le=65535)]
TimeZoneName = Annotated[str, AfterValidator(_known_time_zone)]
DateText = Annotated[str, AfterValidator(_real_date)]


class Settings(BaseSettings):
    """What can be set, each by an environment variable `RETAIL_<NAME>` or a line in `.env`."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_file=_ENV_FILE,
        extra="ignore",
        frozen=True,
        validate_default=True,
    )

    mode: Mode = Mode.LOCAL
    var_dir: Path = Field(default_factory=lambda: project_root() / "var", description="data, logs and secrets")
    cache_dir: Path = Field(
        default_factory=lambda: Path.home() / ".cache" / "retail-assets", description="downloads shared by checkouts"
    )
    java_home: Path | None = Field(default=None, description="a Java 17+ home; otherwise JAVA_HOME, then the PATH")

    tenant: str = Field(
        default="",
        pattern=r"^$|^[a-z][a-z0-9_]{0,30}$",
        examples=["corner_shop"],
        description="whose data: an area of its own in lake, warehouse, Kafka and Dagster; empty is the main one",
    )

    time_zone: TimeZoneName = Field(default="Europe/Berlin", description="the retailer's own time zone")
    currency: str = Field(
        default="EUR", pattern=r"^[A-Z]{3}$", examples=["EUR"], description="ISO 4217 code of all money columns"
    )
    history_start: DateText = Field(default="2025-01-01", description="first business date of the partitions")
    orchestrator: Orchestrator = Orchestrator.DAGSTER
    thresholds_file: Path | None = Field(
        default=None, description="TOML file of thresholds of data quality that differ from the platform's"
    )

    kafka_bootstrap_servers: str = Field(
        default="",
        pattern=r"^$|^[^\s,:]+:\d+(,[^\s,:]+:\d+)*$",
        examples=["broker-1:9092,broker-2:9092"],
        description="host:port,…; empty means the local broker",
    )
    kafka_port: Port = 9092
    kafka_controller_port: Port = 9093
    kafka_max_events_per_run: int = Field(default=2_000_000, ge=1, description="cap of one offset range")
    kafka_batch_events: int = Field(default=5_000, ge=1, description="a run starts when so many events of a topic wait")
    kafka_batch_wait_s: float = Field(
        default=60, ge=0, allow_inf_nan=False, description="or when the oldest has waited so many seconds"
    )
    kafka_tick_s: float = Field(
        default=20,
        ge=1,
        # Dagster gives up a tick after 60 s, and the lake wants some of them.
        le=45,
        description="seconds that one look of a sensor at the broker may take",
    )

    lake_uri: str = Field(default="", description="file:///… or s3a://bucket/prefix; empty means a folder in var_dir")
    s3_endpoint: str = Field(default="", description="URL of an S3-compatible store; empty means AWS")
    s3_region: str = "us-east-1"
    s3_access_key: str = ""
    s3_secret_key: SecretStr = SecretStr("")

    clickhouse_host: str = "127.0.0.1"
    clickhouse_port: Port = 8123
    clickhouse_database: str = Field(default="retail", pattern=r"^[a-z][a-z0-9_]*$", examples=["retail"])
    clickhouse_user: str = "etl"
    clickhouse_password: SecretStr = Field(
        default=SecretStr(""), description="empty means the one that was generated at the local stack's first start"
    )

    features_served_days: int = Field(
        default=90, ge=1, description="days of features that the warehouse keeps at least, back from the newest"
    )

    spark_master: str = "local[*]"
    spark_driver_memory: str = Field(default="2g", pattern=r"^\d+[kmgt]$", examples=["2g"])
    spark_shuffle_partitions: int = Field(default=8, ge=1)

    dagster_port: Port = 3000

    keep_raw_days: int = Field(default=0, ge=0, description="days that raw events are kept; 0 is for ever")
    keep_dead_letters_days: int = Field(
        default=0, ge=0, description="days that refused events are kept; 0 is as long as the others"
    )
    keep_core_days: int = Field(default=0, ge=0, description="days of the core layer that are kept; 0 is all")
    keep_features_days: int = Field(default=0, ge=0, description="days of features that are kept; 0 is all")
    keep_forecasts_days: int = Field(
        default=0, ge=0, description="days that forecasts and reorder points are kept; 0 is for ever"
    )
    keep_runs_days: int = Field(default=0, ge=0, description="days that Dagster's runs are kept; 0 is for ever")

    @field_validator("var_dir", "cache_dir")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        resolved = path.expanduser().resolve()
        nearest = next(one for one in (resolved, *resolved.parents) if one.exists())
        if not nearest.is_dir():
            raise ValueError(f"should be a folder, but {nearest} is a file")
        return resolved

    @field_validator("thresholds_file")
    @classmethod
    def _right_thresholds(cls, path: Path | None) -> Path | None:
        if path is None:
            return None
        resolved = path.expanduser().resolve()
        try:
            load_thresholds(resolved)
        except ThresholdsError as error:
            raise ValueError(str(error)) from None
        return resolved

    @field_validator("lake_uri")
    @classmethod
    def _supported_scheme(cls, uri: str) -> str:
        if uri and not uri.startswith(("file:///", "s3a://")):
            raise ValueError("should start with file:/// or s3a://")
        return uri.rstrip("/")

    @property
    def zone(self) -> ZoneInfo:
        """The retailer's time zone."""
        return ZoneInfo(self.time_zone)

    @property
    def bootstrap_servers(self) -> str:
        """Kafka brokers as `host:port,host:port`."""
        return self.kafka_bootstrap_servers or f"127.0.0.1:{self.kafka_port}"

    @property
    def lake(self) -> str:
        """Root of the tenant's lake as a URI that Spark reads: `file:///…` or `s3a://…`."""
        if not self.lake_uri:
            return (self.tenant_dir / "lake").as_uri()
        return f"{self.lake_uri}/{TENANTS}/{self.tenant}" if self.tenant else self.lake_uri

    @property
    def database(self) -> str:
        """The tenant's database in the warehouse."""
        return f"{self.clickhouse_database}_{self.tenant}" if self.tenant else self.clickhouse_database

    @property
    def topic_prefix(self) -> str:
        """What the names of the tenant's topics begin with."""
        return f"{self.tenant}." if self.tenant else ""

    @property
    def tenant_dir(self) -> Path:
        """What this machine keeps for the tenant."""
        return self.var_dir / TENANTS / self.tenant if self.tenant else self.var_dir

    @property
    def tenant_file(self) -> Path:
        """Settings that hold for the tenant alone: lines as in `.env`, which they go before."""
        return self.tenant_dir / "tenant.env"

    @property
    def dagster_home(self) -> Path:
        """Where Dagster keeps the tenant's runs and events in local mode."""
        return self.tenant_dir / "dagster"

    @property
    def secrets_dir(self) -> Path:
        """One file per generated password, readable by the owner alone."""
        return self.var_dir / "secrets"

    @property
    def jars_dir(self) -> Path:
        """Where verified jars are kept, one folder per group of the lock."""
        return self.cache_dir / "jars"

    def password_of(self, user: str) -> str:
        """Return the warehouse password of `user`.

        The configured password belongs to `clickhouse_user`; any other is read from the generated secrets.

        Raises:
            SettingsError: neither a setting nor a generated secret has it.
        """
        if user == self.clickhouse_user and self.clickhouse_password.get_secret_value():
            return self.clickhouse_password.get_secret_value()
        secret = self.secrets_dir / f"clickhouse_{user}"
        try:
            return secret.read_text(encoding="utf-8").strip()
        except OSError:
            raise SettingsError(
                f"{ENV_PREFIX}CLICKHOUSE_PASSWORD is not set and {secret} does not exist: set the variable, "
                "or run `retail up`, which generates the local passwords"
            ) from None


def load_settings() -> Settings:
    """Read and check the settings anew.

    Raises:
        SettingsError: one line for each variable that is wrong.
    """
    _lines_of(_ENV_FILE)
    try:
        settings = Settings()
        if settings.tenant:
            _lines_of(settings.tenant_file)
            settings = Settings(_env_file=(_ENV_FILE, settings.tenant_file))
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            name = ENV_PREFIX + "_".join(str(part) for part in problem["loc"]).upper()
            shown = "(hidden)" if any(word in name for word in ("PASSWORD", "SECRET")) else repr(problem["input"])
            should = problem["msg"].removeprefix("Value error, ")
            if problem["type"] == "string_pattern_mismatch":
                should = f"should look like {(Settings.model_fields[str(problem['loc'][0])].examples or [''])[0]}"
            lines.append(f"{name} is {shown}: {should}")
        raise SettingsError("\n".join(lines)) from None
    return settings


def unknown_variables() -> list[str]:
    """Return a sentence for each variable that looks like a setting and is none, with the name that was likely meant.

    Raises:
        SettingsError: `.env` is no text.
    """
    known = [ENV_PREFIX + name.upper() for name in Settings.model_fields]
    sentences = []
    for name in sorted({*_lines_of(_ENV_FILE), *os.environ}):
        if name.startswith(ENV_PREFIX) and name not in known and not name.startswith(_NOT_OURS):
            near = get_close_matches(name, known, n=1)
            sentences.append(f"{name} is no setting" + (f": did you mean {near[0]}?" if near else ""))
    return sentences


@contextmanager
def settings_of_children(values: Mapping[str, str]) -> Iterator[None]:
    """Give settings to the processes that are started meanwhile.

    Args:
        values: by the setting's name, such as `history_start`.
    """
    before = dict(os.environ)
    os.environ.update({f"{ENV_PREFIX}{name.upper()}": value for name, value in values.items()})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def use_tenant(name: str) -> None:
    """Choose the tenant of this process and of those that it starts, before anything reads the settings."""
    os.environ[f"{ENV_PREFIX}TENANT"] = name
    get_settings.cache_clear()


def _lines_of(file: Path) -> dict[str, str | None]:
    try:
        return dotenv_values(file)
    except (UnicodeDecodeError, OSError) as error:
        raise SettingsError(
            f"{file} can't be read ({error}): save it as a text file in UTF-8, or move it away"
        ) from None


@functools.cache
def get_settings() -> Settings:
    """Return this process's settings, read at the first call."""
    return load_settings()
