"""The demo's own data: which scenario it is of, and starting afresh when that changes.

A marker says of which scenario the data are, in which lake and in which database. Data in any other place, or without
the marker, are somebody's own and are never touched.
"""

import shutil
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlparse

from retail_assets.contracts.topics import TOPICS
from retail_assets.demo.errors import DemoError
from retail_assets.resources.clickhouse import connect
from retail_assets.resources.kafka import KafkaResource
from retail_assets.settings import TENANTS, Settings

_MARKER: Final = "demo-scenario"


def prepare_area(settings: Settings, fingerprint: str) -> bool:
    """Make sure that lake, topics and warehouse hold nothing but data of this scenario.

    Data of another scenario of the demo are removed. The marker is written last, so that a removal that was cut short
    is done again.

    Returns:
        Whether data of another scenario were removed.

    Raises:
        DemoError: lake, topics or warehouse hold data that are not the demo's, or the settings name another place.
    """
    place = require_place(settings)
    lake = _lake_folder(settings)
    known, _ = _marker_of(settings)
    if known == fingerprint:
        return False
    if known is None:
        _require_nothing_of_others(settings, lake)
    _remove_everything(settings, lake)
    (settings.var_dir / _MARKER).write_text(f"{fingerprint}\n{place}\n", encoding="utf-8")
    return known is not None


def require_place(settings: Settings) -> str:
    """Make sure that the demo may use the lake, broker and warehouse of these settings, before anything is started.

    Returns:
        Lake and database, as the marker names them.

    Raises:
        DemoError: they lie on other machines or in an object store, or the folder belongs to a demo elsewhere.
    """
    if settings.tenant:
        raise DemoError(f"the demo makes a retailer of its own, not {settings.tenant}: unset RETAIL_TENANT for it")
    if settings.kafka_bootstrap_servers or settings.clickhouse_host != "127.0.0.1":
        raise DemoError(
            "the demo replaces all data, so it only uses services of its own on this machine: unset "
            "RETAIL_KAFKA_BOOTSTRAP_SERVERS and RETAIL_CLICKHOUSE_HOST for it"
        )
    place = f"lake {_lake_folder(settings)}, database {settings.database}"
    _, known_place = _marker_of(settings)
    if known_place not in (None, place):
        # What lies in another place isn't the demo's because this folder once was: it could be anybody's.
        raise DemoError(
            f"{settings.var_dir} belongs to a demo with {known_place}, but the settings now say {place}: set "
            "RETAIL_LAKE_URI and RETAIL_CLICKHOUSE_DATABASE as they were, or choose another RETAIL_VAR_DIR"
        )
    return place


def _marker_of(settings: Settings) -> tuple[str, str] | tuple[None, None]:
    marker = settings.var_dir / _MARKER
    lines = marker.read_text(encoding="utf-8").splitlines() if marker.is_file() else []
    return (lines[0], lines[1]) if len(lines) > 1 else (None, None)


def _require_nothing_of_others(settings: Settings, lake: Path) -> None:
    advice = "choose another folder with RETAIL_VAR_DIR (and other ports), or move the data away"
    if _own_folders(lake):
        raise DemoError(f"{lake} holds data that the demo did not make: {advice}")
    kafka = KafkaResource.of(settings)
    filled = kafka.topics_with_events(topic.name for topic in TOPICS)
    if filled:
        raise DemoError(f"{', '.join(filled)} at {settings.bootstrap_servers} hold events of somebody's: {advice}")
    client = connect(settings, database="")
    try:
        facts = client.query(
            "SELECT name FROM system.tables WHERE database = {database:String} "
            "AND name LIKE 'fact%' AND total_rows > 0",
            parameters={"database": settings.database},
        ).result_rows
    finally:
        client.close()
    if facts:
        raise DemoError(f"the warehouse's database {settings.database} holds somebody's facts: {advice}")


def _lake_folder(settings: Settings) -> Path:
    parts = urlparse(settings.lake)
    if parts.scheme != "file":
        raise DemoError(
            f"the demo keeps its lake in a folder, but RETAIL_LAKE_URI is {settings.lake}: unset it for the demo"
        )
    folder = Path(unquote(parts.path))
    if not folder.is_absolute() or folder == Path(folder.anchor):
        raise DemoError(f"RETAIL_LAKE_URI is {settings.lake}, which names no folder of its own: unset it for the demo")
    return folder


def _remove_everything(settings: Settings, lake: Path) -> None:
    kafka = KafkaResource.of(settings)
    kafka.delete_topics(topic.name for topic in TOPICS)
    client = connect(settings, database="")
    for database in (settings.database, f"{settings.database}_staging"):
        client.command(f"DROP DATABASE IF EXISTS {database} SYNC")
    client.close()
    for folder in _own_folders(lake):
        shutil.rmtree(folder, ignore_errors=True)


def _own_folders(lake: Path) -> list[Path]:
    """Return what lies in the lake, but for the areas of tenants, which are nobody's but theirs."""
    return [path for path in lake.iterdir() if path.name != TENANTS] if lake.is_dir() else []
