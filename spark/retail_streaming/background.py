"""Work beside the queries, in threads of its own: it is done again and again, and its failures hold nothing up.

Does not belong here: the work.
"""

from collections.abc import Callable
from threading import Event, Thread

from retail_streaming.errors import StreamingError
from retail_streaming.logs import LOG
from retail_streaming.patience import FIRST_PAUSE, LONGEST_PAUSE


def keep_doing(what: str, work: Callable[[], float | None], stopping: Event) -> Thread:
    """Do work again and again, less often while it fails, until the service stops.

    Args:
        what: its name.
        work: one turn of it. Returns how long to wait before the next, seconds; None for half a second. What it
            explains (StreamingError) it has logged itself.
        stopping: set when the service is told to stop.

    Returns:
        The thread. It ends with the process if it is not waited for.
    """

    def loop() -> None:
        pause = FIRST_PAUSE
        while not stopping.wait(pause):
            try:
                wanted = work()
            except StreamingError:
                pause = min(max(pause, FIRST_PAUSE) * 2, LONGEST_PAUSE)
            except Exception:  # noqa: BLE001 -- whatever it is, the queries go on
                LOG.exception("background work failed", extra={"fields": {"what": what}})
                pause = LONGEST_PAUSE
            else:
                pause = FIRST_PAUSE if wanted is None else wanted

    thread = Thread(target=loop, name=what, daemon=True)
    thread.start()
    return thread
