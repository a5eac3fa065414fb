#!/opt/retail/bin/python
"""Ends with 0 when a web page answers well: the health check of services whose image has neither curl nor wget.

Belongs here: nothing that needs a package. It starts every few seconds, so it must start fast.
"""

import sys
import urllib.error
import urllib.request

_TIMEOUT_SECONDS = 5


def answers(url: str) -> bool:
    """Return whether `url` answers with a status below 400."""
    # The address is written in docker-compose.yml, and is this container's own. No proxy has a part in that.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_TIMEOUT_SECONDS):
            return True
    except (urllib.error.URLError, OSError) as error:
        print(f"{url}: {error}", file=sys.stderr)
        return False


if __name__ == "__main__":
    sys.exit(0 if answers(sys.argv[1]) else 1)
