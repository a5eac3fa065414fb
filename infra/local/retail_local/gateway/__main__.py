"""Start the gateway as a foreground process.

Belongs here: arguments, the lock of the data folder, the socket, logging, and clean start-up errors. Does not belong
here: anything that happens per request.
"""

import argparse
import fcntl
import ipaddress
import logging
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Final, NoReturn, TextIO

from retail_local.gateway.constants import STOP_SECONDS

_LOCK_NAME: Final = "gateway.lock"
_LEVELS: Final = ("debug", "info", "warning", "error")
_WRONG_SETTINGS: Final = 2
_UNAVAILABLE: Final = 1


def main(argv: list[str] | None = None) -> None:
    """Run until told to stop by SIGTERM or SIGINT."""
    args = _arguments(argv)
    for number in (signal.SIGTERM, signal.SIGINT):
        # While requests are served the server handles these; it raises them again when it is done, which ends here too.
        signal.signal(number, lambda *_: sys.exit(0))
    _set_up_logging(args.log_level)
    # The engine takes its time zone from the process; every table of the platform keeps UTC.
    os.environ["TZ"] = "UTC"
    time.tzset()

    # What loads the engine, which takes a second, comes after what can be found wrong without it.
    from retail_local.gateway.access import Passwords, SecretsError

    try:
        passwords = Passwords.read(args.secrets_dir)
    except SecretsError as error:
        _fail(str(error), _WRONG_SETTINGS)
    lock = _lock(args.data_dir)
    listener = _listen(args.host, args.port)

    import uvicorn

    from retail_local.gateway.app import Gateway
    from retail_local.gateway.engine import Engine
    from retail_local.gateway.errors import GatewayError

    try:
        engine = Engine(args.data_dir.resolve())
    except GatewayError as error:
        _fail(f"the engine can't open {args.data_dir}: {error.text}", _UNAVAILABLE)
    logging.getLogger("retail_local.gateway").info(
        "engine %s serves %s on http://%s:%d", engine.version, args.data_dir, args.host, args.port
    )
    config = uvicorn.Config(
        Gateway(engine, passwords).app(),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=args.stop_seconds,
        # A statement in the URL can be long.
        h11_max_incomplete_event_size=1024 * 1024,
    )
    uvicorn.Server(config).run(sockets=[listener])
    lock.close()


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m retail_local.gateway", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address")
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of the tables; made if there is none")
    parser.add_argument("--secrets-dir", type=Path, required=True, help="folder of the files clickhouse_<user>")
    parser.add_argument("--stop-seconds", type=int, default=STOP_SECONDS, help="time to finish after SIGTERM")
    parser.add_argument("--log-level", choices=_LEVELS, default="info")
    args = parser.parse_args(argv)
    try:
        loopback = ipaddress.ip_address("127.0.0.1" if args.host == "localhost" else args.host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        _fail(f"{args.host} is no loopback address: the gateway is for this machine only", _WRONG_SETTINGS)
    return args


def _set_up_logging(level: str) -> None:
    logging.basicConfig(
        stream=sys.stderr, level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def _lock(data_dir: Path) -> TextIO:
    """Take the data folder for this process; the kernel gives it back even after a kill."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / _LOCK_NAME).open("a", encoding="utf-8")
    except OSError as error:
        _fail(f"the data folder {data_dir} can't be used: {error.strerror}", _WRONG_SETTINGS)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        _fail(f"another gateway already serves the data folder {data_dir}", _UNAVAILABLE)
    return lock


def _listen(host: str, port: int) -> socket.socket:
    address = "127.0.0.1" if host == "localhost" else host
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(512)
    except OSError as error:
        _fail(
            f"port {port} of {host} can't be used ({error.strerror}): stop what uses it, "
            "or set RETAIL_CLICKHOUSE_PORT to another port",
            _UNAVAILABLE,
        )
    return listener


def _fail(message: str, status: int) -> NoReturn:
    sys.stderr.write(f"gateway: {message}\n")
    raise SystemExit(status)


if __name__ == "__main__":
    main()
