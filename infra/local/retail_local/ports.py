"""Whether a TCP port of this machine is free, and who holds it if not.

Belongs here: ports and nothing of what listens on them.
"""

import contextlib
import errno
import socket
from dataclasses import dataclass
from typing import Final

import psutil

from retail_local.errors import StackError

LOOPBACK: Final = "127.0.0.1"
_CONNECT_SECONDS: Final = 0.5


class PortInUseError(StackError):
    """A port that a service needs is held by something else."""


@dataclass(frozen=True)
class PortUse:
    """A port that a service listens on, and the variable that moves it elsewhere."""

    number: int
    variable: str


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback address on which nothing listens now, all different."""
    with contextlib.ExitStack() as stack:
        holders = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in holders:
            one.bind((LOOPBACK, 0))
        return [int(one.getsockname()[1]) for one in holders]


def is_free(port: int) -> bool:
    """Whether nothing listens on `port` of the loopback address."""
    # macOS lets two sockets bind where one is on all addresses and the other on one: there a connection tells more.
    with socket.socket() as probe:
        probe.settimeout(_CONNECT_SECONDS)
        if probe.connect_ex((LOOPBACK, port)) == 0:
            return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True


def holder(port: int) -> str:
    """Return who listens on `port` as `program (pid 123)`, or an empty text where the system doesn't say."""
    with contextlib.suppress(psutil.Error, OSError):  # macOS shows connections to root alone
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == port
                and connection.pid
            ):
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return ""


def require_free(service: str, use: PortUse) -> None:
    """Make sure that `service` can listen on its port.

    Raises:
        PortInUseError: something else does; names the port, who holds it where that is known, and what to set.
    """
    if is_free(use.number):
        return
    who = holder(use.number)
    raise PortInUseError(
        f"port {use.number}, which {service} needs, is in use by {who or 'another program'}: "
        f"end that program, or set {use.variable} to a free port"
    )
