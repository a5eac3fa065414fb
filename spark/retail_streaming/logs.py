"""Structured logs: one JSON object per line on standard output.

Belongs here: the shape of a line. Standard output carries nothing else; what Spark's JVM has to say goes to standard
error. Does not belong here: what is worth a line.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

LOG: Final = logging.getLogger("retail_streaming")
_FIELDS: Final = "fields"


class JsonFormatter(logging.Formatter):
    """Turns a record into one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return time, level and event, then the record's own fields."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def log(level: int, event: str, **fields: Any) -> None:
    """Write one line.

    Args:
        level: as in `logging`.
        event: what happened, in a few words that are the same each time.
        fields: the particulars.
    """
    LOG.log(level, event, extra={_FIELDS: fields})


def configure() -> None:
    """Send this service's lines to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    LOG.handlers[:] = [handler]
    LOG.setLevel(logging.INFO)
    LOG.propagate = False


def quiet_libraries() -> None:
    """Silence loggers whose lines this service says itself, in one line that names what to do."""
    # Not `urllib3` as a whole: clickhouse_connect sets that one's level anew when it is imported.
    for name in ("clickhouse_connect", "urllib3.connectionpool", "py4j"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
