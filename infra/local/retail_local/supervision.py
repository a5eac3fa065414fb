"""Supervisor, the one long-running parent of a stack's services: its configuration, its start, and talking to it.

Belongs here: supervisor's format and its protocol, hidden behind `Supervisor`. Does not belong here: which services
there are, and in which order things happen.
"""

import contextlib
import hashlib
import http.client
import os
import re
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from retail_assets.settings import ENV_PREFIX, Settings
from retail_local.errors import StackError
from retail_local.files import PRIVATE_FILE, private_dir, write_atomically
from retail_local.launch import Spec
from retail_local.services import Service, digest, find_service, stack_mark
from retail_local.sweep import STACK_MARK

# The system allows about 104 bytes, and supervisor binds a longer name first.
_LONGEST_SOCKET: Final = 85
_ANSWER_SECONDS: Final = 10.0
_START_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.1
_GROUP_STOP_SECONDS: Final = 45.0
_START_RETRIES: Final = 3
# Supervisor's file takes these for a comment or the end of a value, even between quotes.
_UNQUOTABLE: Final = re.compile(r'["\\\n\r]|\s[;#]')


class SupervisorError(StackError):
    """Supervisor could not be started, or doesn't answer."""


class ProcessState(StrEnum):
    """Supervisor's states of a process."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    BACKOFF = "BACKOFF"
    STOPPING = "STOPPING"
    EXITED = "EXITED"
    FATAL = "FATAL"
    UNKNOWN = "UNKNOWN"


ALIVE: Final = frozenset({ProcessState.STARTING, ProcessState.RUNNING, ProcessState.BACKOFF})
ENDED: Final = frozenset({ProcessState.STOPPED, ProcessState.EXITED, ProcessState.FATAL, ProcessState.UNKNOWN})


@dataclass(frozen=True)
class ProcessInfo:
    """What supervisor knows about one service."""

    name: str
    state: ProcessState
    pid: int | None
    detail: str


def run_dir(settings: Settings) -> Path:
    """Where supervisor's files and the services' launch files are."""
    return settings.var_dir / "run"


def log_dir(settings: Settings) -> Path:
    """Where each service's log is, rotated by supervisor."""
    return settings.var_dir / "log"


def log_file(settings: Settings, service: str) -> Path:
    """The log of a service, or of `supervisor` itself."""
    return log_dir(settings) / f"{service}.log"


def socket_path(settings: Settings) -> Path:
    """Where supervisor listens: in `var_dir`, or in a short private folder where that name is too long for a socket."""
    path = run_dir(settings) / "supervisor.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET:
        return path
    # Not the user's TMPDIR: `up` and `down` may see different ones. The folder is private, see `_own_folder`.
    name = hashlib.sha256(os.fsencode(settings.var_dir)).hexdigest()[:16]
    return Path(f"/tmp/retail-{os.getuid()}-{name}/supervisor.sock")  # noqa: S108


def spec_file(settings: Settings, service: str) -> Path:
    """Where the launcher reads what a service runs."""
    return run_dir(settings) / f"{service}.json"


def render_config(settings: Settings, programs: Iterable[tuple[Service, Spec]]) -> str:
    """Return supervisor's configuration.

    Raises:
        SupervisorError: a path holds characters that this file cannot express.
    """
    listener = _value(str(socket_path(settings)))
    parts = [
        "; Written by `retail up`: don't edit.",
        "[unix_http_server]",
        f"file = {listener}",
        "chmod = 0600",
        "",
        "[supervisord]",
        f"pidfile = {_value(str(run_dir(settings) / 'supervisord.pid'))}",
        f"logfile = {_value(str(log_file(settings, 'supervisor')))}",
        "logfile_maxbytes = 5MB",
        "logfile_backups = 2",
        f"childlogdir = {_value(str(log_dir(settings)))}",
        "nodaemon = false",
        "umask = 077",
        "",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for service, spec in programs:
        command = (
            f'"{_value(sys.executable)}" -m retail_local.launch '
            f'"{_value(str(spec_file(settings, service.name)))}" {digest(spec)}'
        )
        group = str(service.whole_group).lower()
        parts += [
            "",
            f"[program:{service.name}]",
            f"command = {command}",
            "autostart = false",
            "autorestart = true",
            "startsecs = 2",
            f"startretries = {_START_RETRIES}",
            f"stopwaitsecs = {service.stop_seconds}",
            f"stopasgroup = {group}",
            "killasgroup = true",
            "redirect_stderr = true",
            f"stdout_logfile = {_value(str(log_file(settings, service.name)))}",
            "stdout_logfile_maxbytes = 10MB",
            "stdout_logfile_backups = 3",
        ]
    return "\n".join(parts) + "\n"


class Supervisor:
    """The supervisor of one stack, running or not."""

    def __init__(self, settings: Settings) -> None:
        """Say which stack; nothing is started or asked yet."""
        self._settings = settings
        self._server = xmlrpc.client.ServerProxy(
            "http://supervisor/RPC2", transport=_UnixTransport(socket_path(settings))
        )

    def pid(self) -> int | None:
        """Return the process id of the running supervisor, or None."""
        try:
            return int(self._call("getPID"))
        except SupervisorError:
            return None

    def apply(self, programs: Iterable[tuple[Service, Spec]]) -> None:
        """Make the running supervisor, or a new one, know just these programs. Changed ones are stopped.

        Raises:
            SupervisorError: it doesn't start or doesn't answer.
        """
        programs = list(programs)
        private_dir(run_dir(self._settings))
        log_dir(self._settings).mkdir(parents=True, exist_ok=True)
        for service, spec in programs:
            write_atomically(spec_file(self._settings, service.name), spec.to_json(), PRIVATE_FILE)
        config = run_dir(self._settings) / "supervisord.conf"
        write_atomically(config, render_config(self._settings, programs), PRIVATE_FILE)
        if self.pid() is None:
            self._start(config)
        added, changed, removed = self._call("reloadConfig")[0]
        for name in (*changed, *removed):
            self.stop(name)
            self._call("removeProcessGroup", name)
        known = {info.name for info in self.infos()}
        for name in (*added, *changed):
            if name not in known:
                self._call("addProcessGroup", name)

    def infos(self) -> list[ProcessInfo]:
        """Return what the running supervisor knows about its programs; nothing where none runs."""
        try:
            answers = self._call("getAllProcessInfo")
        except SupervisorError:
            return []
        return [
            ProcessInfo(
                name=str(one["name"]),
                state=ProcessState(one["statename"]),
                pid=int(one["pid"]) or None,
                detail=str(one["spawnerr"]),
            )
            for one in answers
        ]

    def start(self, name: str) -> None:
        """Start a program, without waiting for it. One that is alive is left alone.

        Raises:
            SupervisorError: supervisor doesn't answer, or cannot start it.
        """
        if self._state(name) not in ALIVE:
            self._call("startProcess", name, False)  # noqa: FBT003 -- the protocol has no names

    def stop(self, name: str) -> None:
        """Stop a program and wait until it has ended.

        Raises:
            SupervisorError: supervisor doesn't answer, or the program doesn't end.
        """
        if self._state(name) in ALIVE:
            self._call("stopProcess", name, False)  # noqa: FBT003 -- the protocol has no names
        deadline = time.monotonic() + _GROUP_STOP_SECONDS
        while self._state(name) not in ENDED:
            if time.monotonic() > deadline:
                raise SupervisorError(f"{name} doesn't end: run `retail down`, which ends it for sure")
            time.sleep(_POLL_SECONDS)

    def shutdown(self) -> bool:
        """Ask supervisor to stop its programs and end. Returns whether there was one to ask."""
        with contextlib.suppress(SupervisorError):
            self._call("shutdown")
            return True
        return False

    def _state(self, name: str) -> ProcessState:
        return next((info.state for info in self.infos() if info.name == name), ProcessState.UNKNOWN)

    def _start(self, config: Path) -> None:
        _own_folder(socket_path(self._settings).parent)
        answer = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)],
            env={**without_settings(os.environ), STACK_MARK: stack_mark(self._settings)},
            cwd=self._settings.var_dir,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        deadline = time.monotonic() + _START_SECONDS
        while answer.returncode == 0 and time.monotonic() < deadline:
            if self.pid() is not None:
                return
            time.sleep(_POLL_SECONDS)
        lines = [line for line in answer.stdout.splitlines() if line.strip()]
        reason = lines[-1] if lines else "it doesn't answer"
        raise SupervisorError(f"supervisor did not start ({reason}): see {log_file(self._settings, 'supervisor')}")

    def _call(self, method: str, *arguments: Any) -> Any:
        try:
            return getattr(self._server.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            raise SupervisorError(
                f"supervisor refused {method} {' '.join(map(str, arguments))}: {fault.faultString}"
            ) from None
        except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
            raise SupervisorError(f"supervisor doesn't answer ({type(error).__name__})") from None


def known_specs(settings: Settings, infos: Iterable[ProcessInfo]) -> list[tuple[Service, Spec]]:
    """Return the launch files of programs that supervisor already has, as they were written."""
    found = []
    for info in infos:
        with contextlib.suppress(OSError, ValueError, TypeError, StackError):
            text = spec_file(settings, info.name).read_text(encoding="utf-8")
            found.append((find_service(info.name), Spec.from_json(text)))
    return found


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return variables without the settings among them.

    Services inherit the environment of whoever started the supervisor first. They are told all settings; one that was
    made then and isn't any more, such as a tenant, must not come back to them from there.
    """
    return {name: value for name, value in environment.items() if not name.startswith(ENV_PREFIX)}


def _value(text: str) -> str:
    if _UNQUOTABLE.search(text):
        raise SupervisorError(
            f"the path {text!r} cannot be used: choose a RETAIL_VAR_DIR and a folder for the checkout without quotes, "
            "backslashes, and without ; or # after a space"
        )
    return text.replace("%", "%%")


def _own_folder(folder: Path) -> None:
    private_dir(folder)
    if folder.stat().st_uid != os.getuid() or folder.is_symlink():
        raise SupervisorError(f"{folder} belongs to somebody else: remove it, or set a shorter RETAIL_VAR_DIR")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("supervisor", timeout=_ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_ANSWER_SECONDS)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over a socket in the file system, with a limit on the wait that supervisor's own transport lacks."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        # A new connection for each call: supervisor closes them after its answer.
        del host
        return _UnixConnection(self._path)
