"""The HTTP side: routes, the queue, headers and answers.

Belongs here: everything that starlette and HTTP are needed for. Does not belong here: what happens to a statement.
"""

import asyncio
import contextlib
import functools
import io
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from retail_local.gateway import errors
from retail_local.gateway.access import Passwords, User, authenticate
from retail_local.gateway.compression import encoded
from retail_local.gateway.constants import DISPLAY_NAME, INLINE_RESULT_BYTES, MAX_RUNNING, MAX_WAITING, READER_RUNNING
from retail_local.gateway.engine import Engine, Job, Outcome
from retail_local.gateway.errors import GatewayError
from retail_local.gateway.executor import Done, Executor
from retail_local.gateway.request import Request, Spool, describe, pieces, read_form

_log = logging.getLogger(__name__)

_TEXT: Final = "text/plain; charset=UTF-8"
_CONTENT_TYPES: Final[tuple[tuple[str, str], ...]] = (
    ("JSONEachRow", "application/x-ndjson; charset=UTF-8"),
    ("JSONCompactEachRow", "application/x-ndjson; charset=UTF-8"),
    ("JSON", "application/json; charset=UTF-8"),
    ("CSV", "text/csv; charset=UTF-8; header=absent"),
    ("TabSeparated", "text/tab-separated-values; charset=UTF-8"),
    ("TSV", "text/tab-separated-values; charset=UTF-8"),
    ("XML", "application/xml; charset=UTF-8"),
    ("Pretty", _TEXT),
    ("Vertical", _TEXT),
    ("Markdown", _TEXT),
    ("Values", _TEXT),
)
_BINARY: Final = "application/octet-stream"


class Gateway:
    """The application: engine, passwords and the queue of requests."""

    def __init__(self, engine: Engine, passwords: Passwords) -> None:
        """Take an open engine and the passwords."""
        self._engine = engine
        self._passwords = passwords
        self._executor = Executor(engine)
        self._threads = ThreadPoolExecutor(MAX_RUNNING, thread_name_prefix="statement")
        # Bodies are unpacked and jobs cancelled beside the statements, so that these can't keep each other waiting.
        self._helpers = ThreadPoolExecutor(4, thread_name_prefix="helper")
        self._open = 0
        self._reader_slots = asyncio.Semaphore(READER_RUNNING)

    def app(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(
            routes=[
                Route("/ping", self._ok, methods=["GET", "HEAD"]),
                Route("/replicas_status", self._ok, methods=["GET", "HEAD"]),
                Route("/healthz", self._health, methods=["GET"]),
                Route("/", self._root, methods=["GET", "HEAD", "POST", "OPTIONS"]),
            ],
            lifespan=self._lifespan,
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        yield
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._helpers.shutdown(wait=True)
        self._executor.sessions.expire(everything=True)
        self._engine.close()

    async def _ok(self, _: HttpRequest) -> Response:
        return PlainTextResponse("Ok.\n", media_type="text/html")

    async def _health(self, _: HttpRequest) -> Response:
        def probe() -> str:
            connection = self._engine.connect()
            try:
                return connection.ask("SELECT 1")
            finally:
                connection.close()

        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._helpers, probe)
        except GatewayError as error:
            return PlainTextResponse(error.body(self._engine.version), status_code=503)
        return PlainTextResponse("Ok.\n", status_code=200 if answer == "1" else 503)

    async def _root(self, http: HttpRequest) -> Response:
        if http.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": "GET, HEAD, POST, OPTIONS"})
        if http.method in {"GET", "HEAD"} and "query" not in http.query_params:
            return await self._ok(http)
        url = dict(http.query_params)
        request_id = url.get("query_id", "")
        begin = time.monotonic()
        try:
            user = authenticate(self._passwords, http.headers, url)
            request = describe(http.method, url, http.headers)
            request_id = request.query_id
            with self._place_in_queue():
                done = await self._process(http, user, request)
            response = self._answer(done, request)
        except GatewayError as error:
            _log.warning("%s failed: code %d %s: %.500s", request_id, error.code, error.name, error.text)
            response = self._failure(error, request_id)
        except ClientDisconnect:
            _log.warning("%s: the client left before its request was complete", request_id)
            response = Response(status_code=400)
        except Exception:  # noqa: BLE001 - a client gets an answer whatever happens; the log gets the whole story
            _log.exception("%s failed unexpectedly", request_id)
            response = self._failure(
                GatewayError(errors.UNKNOWN_EXCEPTION, "The gateway failed; see its log"), request_id
            )
        _log.debug("%s %s %d in %.3f s", http.method, request_id, response.status_code, time.monotonic() - begin)
        return response

    @contextlib.contextmanager
    def _place_in_queue(self) -> Iterator[None]:
        if self._open >= MAX_RUNNING + MAX_WAITING:
            raise GatewayError(errors.TOO_MANY_SIMULTANEOUS_QUERIES, "Too many simultaneous requests")
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    async def _process(self, http: HttpRequest, user: User, request: Request) -> Done:
        loop = asyncio.get_running_loop()
        spool = Spool(self._engine.new_body_file)
        job = Job(request.query_id)
        try:
            async for chunk in http.stream():
                spool.write(chunk)
            content_type = http.headers.get("content-type", "")
            encoding = http.headers.get("content-encoding", "").strip().lower()

            def work() -> Done:
                job.check()
                request.body = spool.decoded(encoding)
                try:
                    if content_type.lower().startswith("multipart/form-data"):
                        read_form(request, request.body, content_type)
                        request.body = io.BytesIO()
                    return self._executor.run(user, request, job)
                finally:
                    request.body.close()

            watcher = asyncio.create_task(self._watch(http, job))
            try:
                async with self._reader_slots if user is User.BI_READER else contextlib.nullcontext():
                    return await asyncio.shield(loop.run_in_executor(self._threads, work))
            except asyncio.CancelledError:  # the time to finish after the order to stop is over
                await loop.run_in_executor(self._helpers, functools.partial(self._engine.cancel, job, also_writes=True))
                raise
            finally:
                watcher.cancel()
        finally:
            spool.close()

    async def _watch(self, http: HttpRequest, job: Job) -> None:
        """Stop a job whose client is gone; nobody would read its result."""
        while (await http.receive())["type"] != "http.disconnect":
            pass
        _log.debug("%s: the client left", job.query_id)
        await asyncio.get_running_loop().run_in_executor(self._helpers, self._engine.cancel, job)

    def _answer(self, done: Done, request: Request) -> Response:
        outcome = done.outcome
        headers = self._headers(request.query_id)
        headers["X-ClickHouse-Format"] = done.format
        headers["X-ClickHouse-Summary"] = _summary(outcome)
        content_type = next((kind for name, kind in _CONTENT_TYPES if done.format.startswith(name)), _BINARY)
        if content_type.endswith("header=absent") and "WithNames" in done.format:
            content_type = content_type.replace("absent", "present")
        headers["Content-Type"] = content_type
        size = outcome.size()
        stream: Iterator[bytes] = (
            iter([outcome.content or b""]) if outcome.result_file is None else pieces(outcome.result_file)
        )
        if request.method == "HEAD":
            if outcome.result_file is not None:
                outcome.result_file.close()
            return Response(headers=headers)
        if request.answer_encoding and size:
            headers["Content-Encoding"] = request.answer_encoding
            stream = encoded(stream, request.answer_encoding)
        if size <= INLINE_RESULT_BYTES:
            return Response(b"".join(stream), headers=headers)
        if not request.answer_encoding:
            headers["Content-Length"] = str(size)
        return StreamingResponse(stream, headers=headers)

    def _failure(self, error: GatewayError, query_id: str) -> Response:
        headers = self._headers(query_id)
        headers["X-ClickHouse-Exception-Code"] = str(error.code)
        headers["Content-Type"] = _TEXT
        if error.status == errors.UNAUTHORIZED:
            headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
        return Response(error.body(self._engine.version), status_code=error.status, headers=headers)

    def _headers(self, query_id: str) -> dict[str, str]:
        return {
            "X-ClickHouse-Query-Id": "".join(char for char in query_id if char.isprintable() and char.isascii())[:256],
            "X-ClickHouse-Timezone": self._engine.timezone,
            "X-ClickHouse-Server-Display-Name": DISPLAY_NAME,
        }


def _summary(outcome: Outcome) -> str:
    numbers = {
        "read_rows": outcome.read_rows,
        "read_bytes": outcome.read_bytes,
        "written_rows": outcome.written_rows,
        "written_bytes": outcome.written_bytes,
        "total_rows_to_read": outcome.read_rows,
        "result_rows": outcome.result_rows,
        "result_bytes": outcome.size(),
        "elapsed_ns": int(outcome.elapsed * 1e9),
    }
    return json.dumps({name: str(number) for name, number in numbers.items()}, separators=(",", ":"))
