"""What the driver's errors say of who failed: ClickHouse, or something on the way to it.

Said here once, because the platform and the streaming service both have to tell them apart. Does not belong here:
which of ClickHouse's own errors pass, and what is done about them.
"""

import re
from typing import Final

# The driver keeps the status in its message alone.
_STATUS: Final = re.compile(r"HTTP driver received HTTP status (?P<status>[0-9]{3})\b")
# ClickHouse says its code in a header too; a proxy may take that away.
_CODE: Final = re.compile(r"\bCode: (?P<code>[0-9]+)\. DB::")
_SERVER_ERRORS: Final = 500


def clickhouse_code(error: Exception) -> int | None:
    """Return ClickHouse's code of an error of the driver; None where it wasn't ClickHouse that answered."""
    code = getattr(error, "code", None)
    if code is not None:
        return int(code)
    found = _CODE.search(str(error))
    return int(found["code"]) if found else None


def failed_on_the_way(error: Exception) -> bool:
    """Return whether a proxy, or a server that is just coming up or going down, answered with a failure of its own.

    The driver itself only knows 429, 503 and 504 for what passes: of a proxy's 502 it says the same as of a query that
    is wrong.
    """
    found = _STATUS.match(str(error))
    return clickhouse_code(error) is None and found is not None and int(found["status"]) >= _SERVER_ERRORS
