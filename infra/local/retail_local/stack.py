"""The local stack as a whole: bring it up, take it down, say how it is.

Belongs here: the order of things. What the services are is in `services`, how they are watched in `supervision`, and
how left-over processes are found in `sweep`.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from retail_assets.settings import Settings
from retail_local import logs
from retail_local.errors import StackError
from retail_local.files import locked
from retail_local.health import UnhealthyError
from retail_local.passwords import ensure_secrets
from retail_local.ports import require_free
from retail_local.services import SERVICES, Service, default_services, digest, find_service, spec_of, stack_mark
from retail_local.supervision import (
    ALIVE,
    ENDED,
    ProcessInfo,
    ProcessState,
    Supervisor,
    known_specs,
    log_file,
    run_dir,
    socket_path,
)
from retail_local.sweep import find_marked, sweep

MIN_FREE_BYTES: Final = 1_000_000_000
_POLL_SECONDS: Final = 0.25
_SHUTDOWN_SECONDS: Final = 75.0

Progress = Callable[[str, str], None]


class ServiceFailedError(StackError):
    """A service ended or never became healthy. Names its log and the line that tells most."""


class DiskFullError(StackError):
    """There is too little room to start anything."""


@dataclass(frozen=True)
class ServiceStatus:
    """How one service is.

    Attributes:
        name: the service.
        state: `running`, `starting`, `failing` (it ends and is started again), `failed`, `stopped`, or `orphaned`
            (it runs, but its supervisor is gone: `retail up` and `retail down` both mend that).
        pid: its process, if it runs.
        uptime_seconds: how long that process has been running.
        ports: where it listens.
        healthy: the answer of its health check; None when it was not asked.
        health: what it answered, or why it is not healthy.
        latency_ms: how long the answer took.
        log: its log file.
    """

    name: str
    state: str
    pid: int | None
    uptime_seconds: float | None
    ports: tuple[int, ...]
    healthy: bool | None
    health: str
    latency_ms: float | None
    log: Path


_STATES: Final = {
    ProcessState.RUNNING: "running",
    ProcessState.STARTING: "starting",
    ProcessState.BACKOFF: "failing",
    ProcessState.FATAL: "failed",
    ProcessState.EXITED: "failed",
    ProcessState.STOPPING: "stopping",
    ProcessState.STOPPED: "stopped",
    ProcessState.UNKNOWN: "stopped",
}


class Stack:
    """The stack of one `var_dir`. Several with different folders and ports run side by side."""

    def __init__(self, settings: Settings, min_free_bytes: int = MIN_FREE_BYTES) -> None:
        """Say which stack.

        Args:
            settings: its folders and ports.
            min_free_bytes: with less room on the disk than this, `up` refuses.
        """
        self._settings = settings
        self._min_free_bytes = min_free_bytes
        self._supervisor = Supervisor(settings)

    def up(
        self,
        services: Sequence[str] | None = None,
        on_progress: Progress = lambda _service, _text: None,
        wait_for: Sequence[str] | None = None,
    ) -> None:
        """Start services and wait until each is healthy. Those that run already are left alone.

        Args:
            services: names; None for what the settings don't place elsewhere.
            on_progress: called with a service's name and a short text at each step.
            wait_for: which of them to wait for; None for all. The others go on starting meanwhile.

        Raises:
            StackError: one line that says what is wrong and what to do: a port in use, too little disk, no Java, jars
                missing, a service that fails.
        """
        names = default_services(self._settings) if services is None else list(dict.fromkeys(services))
        chosen = [find_service(name) for name in names]
        self._make_folder()
        self._require_disk()
        begun = time.monotonic()
        with self._alone(on_progress):
            ensure_secrets(self._settings)
            if self._supervisor.pid() is None:
                left_over = sweep(stack_mark(self._settings))
                if left_over:
                    on_progress("stack", f"ended {left_over} processes that a supervisor had left behind")
            self._start(chosen, on_progress)
        # Not under the lock: who gets tired of waiting can type `retail down`.
        for service in chosen:
            if wait_for is None or service.name in wait_for:
                self._wait(service, begun, on_progress)

    def restart(self, name: str, on_progress: Progress = lambda _service, _text: None) -> None:
        """Stop one service, start it again and wait until it is healthy.

        Raises:
            StackError: it doesn't end, or doesn't come back.
        """
        with self._alone(on_progress):
            on_progress(name, "stopping")
            self._supervisor.stop(name)
        self.up([name], on_progress)

    def down(self, on_progress: Progress = lambda _service, _text: None) -> int:
        """Stop everything that `up` began, also when its supervisor was killed. Returns how many were left over.

        Data, logs and secrets stay.

        Raises:
            StackError: something could not be ended.
        """
        with self._alone(on_progress):
            pid = self._supervisor.pid()
            if pid is not None:
                self._shut_down(pid, on_progress)
            left_over = sweep(stack_mark(self._settings))
            stubborn = find_marked(stack_mark(self._settings))
            if stubborn:
                pids = ", ".join(str(one.pid) for one in stubborn)
                raise StackError(f"these processes of the stack don't end, even when killed: {pids}")
            socket_path(self._settings).unlink(missing_ok=True)
            (run_dir(self._settings) / "supervisord.pid").unlink(missing_ok=True)
        return left_over

    def status(self, *, ask: bool = True) -> list[ServiceStatus]:
        """Return how each service is, in a steady order.

        Args:
            ask: also make the health check of each service that runs.
        """
        infos = {info.name: info for info in self._supervisor.infos()}
        orphans = {} if infos else {one.service: one.pid for one in find_marked(stack_mark(self._settings))}
        return [self._status_of(service, infos.get(service.name), orphans, ask=ask) for service in SERVICES.values()]

    def _status_of(
        self, service: Service, info: ProcessInfo | None, orphans: dict[str, int], *, ask: bool
    ) -> ServiceStatus:
        state, pid = "stopped", None
        if info is not None:
            state, pid = _STATES[info.state], info.pid
        elif service.name in orphans:
            state, pid = "orphaned", orphans[service.name]
        healthy, answer, latency = None, "", None
        if ask and state in ("running", "orphaned", "starting"):
            begun = time.monotonic()
            try:
                answer, healthy = service.check(self._settings), True
            except UnhealthyError as error:
                answer, healthy = str(error), False
            latency = (time.monotonic() - begun) * 1000
        elif state in ("failed", "failing"):
            healthy, answer = False, logs.telling_line(log_file(self._settings, service.name))
        return ServiceStatus(
            name=service.name,
            state=state,
            pid=pid,
            uptime_seconds=_uptime(pid),
            ports=tuple(port.number for port in service.ports(self._settings)),
            healthy=healthy,
            health=answer,
            latency_ms=latency,
            log=log_file(self._settings, service.name),
        )

    def _start(self, chosen: Sequence[Service], on_progress: Progress) -> None:
        infos = {info.name: info for info in self._supervisor.infos()}
        programs = {service.name: (service, spec) for service, spec in known_specs(self._settings, infos.values())}
        starting = []
        for service in chosen:
            spec = spec_of(service, self._settings)
            before = programs.get(service.name)
            running = service.name in infos and infos[service.name].state in ALIVE
            if running and before is not None and digest(before[1]) == digest(spec):
                continue
            # A service whose settings changed holds some of its ports itself until it is stopped below.
            held = before[1].ports if running and before is not None else []
            for port in service.ports(self._settings):
                if port.number not in held:
                    require_free(service.name, port)
            service.prepare(self._settings)
            programs[service.name] = (service, spec_of(service, self._settings))
            starting.append(service.name)
        if not starting:
            return
        self._supervisor.apply(programs.values())
        for name in starting:
            on_progress(name, "starting")
            self._supervisor.start(name)

    def _wait(self, service: Service, begun: float, on_progress: Progress) -> None:
        said = ""
        while True:
            info = next((info for info in self._supervisor.infos() if info.name == service.name), None)
            if info is None or info.state in ENDED:
                raise ServiceFailedError(self._why(service, "does not start" if info is not None else "is gone"))
            problem = ""
            try:
                answer = service.check(self._settings)
            except UnhealthyError as error:
                problem = str(error)
            waited = time.monotonic() - begun
            if not problem and info.state is ProcessState.RUNNING:
                on_progress(service.name, f"ready after {waited:.1f} s ({answer})")
                return
            if problem and waited > service.start_seconds:
                raise ServiceFailedError(self._why(service, f"is not healthy after {waited:.0f} s ({problem})"))
            text = "failed, trying again" if info.state is ProcessState.BACKOFF else "waiting for its answer"
            if text != said:
                on_progress(service.name, text)
                said = text
            time.sleep(_POLL_SECONDS)

    def _why(self, service: Service, what: str) -> str:
        log = log_file(self._settings, service.name)
        return f"{service.name} {what}; its log {log} says: {logs.telling_line(log)}"

    def _shut_down(self, pid: int, on_progress: Progress) -> None:
        try:
            supervisor = psutil.Process(pid)
        except psutil.Error:
            return
        on_progress("stack", "stopping")
        if not self._supervisor.shutdown():
            return
        try:
            supervisor.wait(timeout=_SHUTDOWN_SECONDS)
        except psutil.TimeoutExpired:
            on_progress("stack", "it takes too long: ending what is left")

    def _make_folder(self) -> None:
        try:
            self._settings.var_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StackError(
                f"the folder {self._settings.var_dir} can't be made ({error.strerror}): set RETAIL_VAR_DIR to a "
                "folder that you may write to"
            ) from None

    def _require_disk(self) -> None:
        free = shutil.disk_usage(self._settings.var_dir).free
        if free < self._min_free_bytes:
            raise DiskFullError(
                f"only {free / 1e9:.2f} GB are free for {self._settings.var_dir}, and {self._min_free_bytes / 1e9:.2f} "
                "GB are needed: free some, or set RETAIL_VAR_DIR to a folder on another disk"
            )

    @contextmanager
    def _alone(self, on_progress: Progress) -> Iterator[None]:
        self._make_folder()
        with locked(
            self._settings.var_dir / ".stack.lock",
            on_wait=lambda: on_progress("stack", "waiting for another `retail up` or `down`"),
        ):
            yield


def _uptime(pid: int | None) -> float | None:
    if pid is None:
        return None
    try:
        return max(0.0, time.time() - psutil.Process(pid).create_time())
    except psutil.Error:
        return None
