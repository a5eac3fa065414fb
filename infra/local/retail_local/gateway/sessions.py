"""Sessions: what the requests with one `session_id` share.

Belongs here: locking a session, and keeping the connection of one that has state. Does not belong here: running
statements. Clients send a session id with every request although most never use what a session is for, so a session
gets a connection of its own only once a statement leaves something behind: a temporary table, `SET` or `USE`.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from retail_local.gateway import errors
from retail_local.gateway.access import User
from retail_local.gateway.constants import MAX_PINNED_SESSIONS, MAX_SESSION_TIMEOUT_SECONDS, SESSION_TIMEOUT_SECONDS
from retail_local.gateway.engine import Connection
from retail_local.gateway.errors import GatewayError


@dataclass
class Session:
    """One session.

    Attributes:
        connection: the pinned connection, if a statement left state behind.
        deadline: when an unused session is forgotten, on the monotonic clock.
        busy: whether a request is in it.
    """

    connection: Connection | None = None
    deadline: float = 0.0
    busy: bool = field(default=False)


class Sessions:
    """All sessions of all users. Safe for threads."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = threading.Lock()
        self._sessions: dict[tuple[User, str], Session] = {}

    @contextlib.contextmanager
    def hold(self, user: User, session_id: str, timeout: str, *, must_exist: bool) -> Iterator[Session]:
        """Have a session for the time of one request.

        Raises:
            GatewayError: another request is in it, it should exist but does not, or the timeout is no number.
        """
        seconds = _seconds(timeout)
        self.expire()
        key = (user, session_id)
        with self._lock:
            session = self._sessions.get(key)
            if session is None:
                if must_exist:
                    raise GatewayError(errors.SESSION_NOT_FOUND, f"Session {session_id} not found")
                session = self._sessions[key] = Session()
            if session.busy:
                raise GatewayError(errors.SESSION_IS_LOCKED, f"Session {session_id} is locked by a concurrent client")
            session.busy = True
        try:
            yield session
        finally:
            with self._lock:
                session.busy = False
                session.deadline = time.monotonic() + seconds

    def check_room(self) -> None:
        """Raise if no further session may keep a connection.

        Raises:
            GatewayError: there are too many.
        """
        with self._lock:
            pinned = sum(session.connection is not None for session in self._sessions.values())
        if pinned >= MAX_PINNED_SESSIONS:
            raise GatewayError(
                errors.TOO_MANY_SIMULTANEOUS_QUERIES,
                f"{MAX_PINNED_SESSIONS} sessions hold temporary tables or settings already; close some",
            )

    def expire(self, *, everything: bool = False) -> None:
        """Forget sessions whose time is over, and what they hold."""
        now = time.monotonic()
        with self._lock:
            over = [
                key
                for key, session in self._sessions.items()
                if everything or (not session.busy and session.deadline and session.deadline < now)
            ]
            dropped = [self._sessions.pop(key) for key in over]
        for session in dropped:
            if session.connection is not None:
                session.connection.close()


def _seconds(timeout: str) -> float:
    if not timeout:
        return SESSION_TIMEOUT_SECONDS
    if not timeout.isdecimal() or int(timeout) > MAX_SESSION_TIMEOUT_SECONDS:
        raise GatewayError(
            errors.BAD_ARGUMENTS,
            f"Session timeout '{timeout}' should be whole seconds up to {MAX_SESSION_TIMEOUT_SECONDS}",
        )
    return int(timeout)
