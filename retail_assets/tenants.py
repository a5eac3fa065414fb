"""Whose data a command works on: the option `--tenant`, the same for every command that has one.

Belongs here: choosing the tenant before anything reads the settings, and keeping its own settings. Does not belong
here: what a tenant's areas are called (`settings`).
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import click
from dotenv import dotenv_values

from retail_assets.settings import ENV_PREFIX, Settings, use_tenant
from retail_local.files import write_atomically


def tenant_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option `--tenant`. The command finds the choice in its settings, not among its arguments."""

    @click.option(
        "--tenant",
        metavar="NAME",
        help="Whose data: an area of its own in lake, warehouse, Kafka and Dagster; RETAIL_TENANT by default.",
    )
    @functools.wraps(command)
    def chosen(*args: Any, tenant: str | None, **options: Any) -> Any:
        if tenant is not None:
            use_tenant(tenant)
        return command(*args, **options)

    return chosen


def keep_settings(settings: Settings, values: Mapping[str, str]) -> None:
    """Keep settings of the tenant, beside those that are kept already.

    Args:
        settings: of the tenant.
        values: by the setting's name, such as `history_start`.
    """
    kept = {name: value for name, value in dotenv_values(settings.tenant_file).items() if value is not None}
    kept |= {f"{ENV_PREFIX}{name.upper()}": value for name, value in values.items()}
    settings.tenant_dir.mkdir(parents=True, exist_ok=True)
    write_atomically(settings.tenant_file, "".join(f"{name}={value}\n" for name, value in sorted(kept.items())))
