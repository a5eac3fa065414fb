"""Health and metrics over HTTP, for orchestrators and Prometheus: a few small answers, no more.

Belongs here: paths, status codes, the port. Does not belong here: what is answered (`health`, `metrics`). There is no
sign-in: it listens on this machine alone unless it is told otherwise, and tells no secrets.
"""

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import Thread
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST

from retail_streaming.errors import StreamingError
from retail_streaming.health import Answer, Health
from retail_streaming.metrics import Metrics

#: How long a client may take to ask.
_CLIENT_SECONDS: Final = 5.0
_Reply = tuple[HTTPStatus, str, bytes]


class HttpServer:
    """Answers in threads of its own, which end with the process."""

    def __init__(self, host: str, port: int, health: Health, metrics: Metrics) -> None:
        """Begin to listen.

        Args:
            host: address to listen on.
            port: to listen on.
            health: asked for `/healthz` and `/readyz`.
            metrics: asked for `/metrics`.

        Raises:
            StreamingError: it can't listen there.
        """
        paths: dict[str, Callable[[], _Reply]] = {
            "/healthz": lambda: _in_json(health.alive()),
            "/readyz": lambda: _in_json(health.ready()),
            "/metrics": lambda: (HTTPStatus.OK, CONTENT_TYPE_LATEST, metrics.text()),
        }
        try:
            self._server = _Server((host, port), _handler(paths))
        except OSError as error:
            raise StreamingError(
                f"health and metrics can't be served on {host}:{port} ({error.strerror}): end what listens there, or "
                "set RETAIL_STREAM_HTTP_HOST and RETAIL_STREAM_HTTP_PORT (0 for neither health nor metrics)"
            ) from None
        Thread(target=self._server.serve_forever, name="http", daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def server_bind(self) -> None:
        # The HTTP server's own asks the name service who this machine is, which may take long, and isn't needed.
        TCPServer.server_bind(self)


def _in_json(answer: Answer) -> _Reply:
    good, body = answer
    status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
    return status, "application/json", json.dumps(body).encode()


def _handler(paths: Mapping[str, Callable[[], _Reply]]) -> type[BaseHTTPRequestHandler]:
    def unknown() -> _Reply:
        body = {"status": "not found", "paths": list(paths)}
        return HTTPStatus.NOT_FOUND, "application/json", json.dumps(body).encode()

    class Handler(BaseHTTPRequestHandler):
        timeout = _CLIENT_SECONDS

        def do_GET(self) -> None:
            status, content_type, body = paths.get(self.path.partition("?")[0], unknown)()
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Be quiet: a probe comes every few seconds."""

    return Handler
