"""A request as the gateway sees it: URL parameters and headers sorted into what they mean.

Belongs here: which parameter means what, and reading bodies into bounded memory. Does not belong here: running it.
"""

import email.parser
import email.policy
import io
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from retail_local.gateway import errors
from retail_local.gateway.compression import accepted, decoded
from retail_local.gateway.constants import CHUNK_BYTES, MAX_BODY_BYTES, MAX_STATEMENT_BYTES, MEMORY_SPOOL_BYTES
from retail_local.gateway.errors import GatewayError

_DEFAULT_FORMAT: Final = "TabSeparated"
# Parameters that are about the request and no settings of the engine.
_NOT_SETTINGS: Final = frozenset({
    "user", "password", "query", "database", "default_format", "query_id", "session_id", "session_timeout",
    "session_check", "enable_http_compression", "compress", "decompress", "wait_end_of_query", "buffer_size",
    "client_protocol_version", "quota_key", "role", "close_session", "stacktrace", "readonly",
    "http_write_exception_in_output_format", "send_progress_in_http_headers", "http_headers_progress_interval_ms",
    "cancel_http_readonly_queries_on_client_close", "add_http_cors_header",
})  # fmt: skip
_UNSUPPORTED: Final[Mapping[str, str]] = {
    "compress": "ClickHouse's block compression (compress=1); use Accept-Encoding with enable_http_compression=1",
    "decompress": "ClickHouse's block compression (decompress=1); use Content-Encoding",
    "role": "roles",
    "quota_key": "quotas",
}
_TRUE: Final = frozenset({"1", "true"})


@dataclass
class Request:
    """What a client wants.

    Attributes:
        method: the HTTP method.
        query: SQL text of the URL or the form.
        database: database of unqualified names; empty means the default one.
        default_format: result format if the statement names none.
        settings: settings for this request alone.
        params: values of query parameters.
        query_id: the client's name of the query, or a new one.
        session_id: the client's session, or empty.
        session_timeout: seconds as text, or empty.
        session_must_exist: whether `session_check=1` was sent.
        readonly: the `readonly` that the client asks for, or empty.
        answer_encoding: compression of the answer.
        body: the decompressed body; what of it is statement and what is data is for `executor` to find.
    """

    method: str
    query: str
    database: str
    default_format: str
    settings: dict[str, str]
    params: dict[str, str]
    query_id: str
    session_id: str
    session_timeout: str
    session_must_exist: bool
    readonly: str
    answer_encoding: str | None
    body: BinaryIO = field(default_factory=io.BytesIO, repr=False)


def describe(method: str, url: Mapping[str, str], headers: Mapping[str, str]) -> Request:
    """Sort URL parameters and headers.

    Raises:
        GatewayError: a parameter asks for what the gateway does not support.
    """
    for name, what in _UNSUPPORTED.items():
        if url.get(name, "") not in {"", "0", "false"}:
            raise GatewayError(errors.NOT_IMPLEMENTED, f"Not supported by the gateway: {what}")
    wants_compression = url.get("enable_http_compression", "0") in _TRUE
    return Request(
        method=method,
        query=url.get("query", ""),
        database=url.get("database") or headers.get("x-clickhouse-database", ""),
        default_format=headers.get("x-clickhouse-format") or url.get("default_format") or _DEFAULT_FORMAT,
        settings={k: v for k, v in url.items() if k not in _NOT_SETTINGS and not k.startswith("param_")},
        params={k.removeprefix("param_"): v for k, v in url.items() if k.startswith("param_")},
        query_id=url.get("query_id") or str(uuid.uuid4()),
        session_id=url.get("session_id", ""),
        session_timeout=url.get("session_timeout", ""),
        session_must_exist=url.get("session_check", "") in _TRUE,
        readonly=url.get("readonly", ""),
        answer_encoding=accepted(headers.get("accept-encoding", "")) if wants_compression else None,
    )


class Spool:
    """A body that stays in memory while it is small and goes to a file when it is not."""

    def __init__(self, new_file: Callable[[], BinaryIO]) -> None:
        """Take what makes the file."""
        self._new_file = new_file
        self._file: BinaryIO = io.BytesIO()
        self._in_memory = True
        self.size = 0

    def write(self, chunk: bytes) -> None:
        """Append a chunk.

        Raises:
            GatewayError: the body is larger than the limit.
        """
        self.size += len(chunk)
        if self.size > MAX_BODY_BYTES:
            raise GatewayError(errors.QUERY_IS_TOO_LARGE, f"The body is larger than {MAX_BODY_BYTES} bytes")
        self._append(chunk)

    def _append(self, chunk: bytes) -> None:
        if self._in_memory and self._file.tell() + len(chunk) > MEMORY_SPOOL_BYTES:
            file = self._new_file()
            file.write(self._file.getbuffer())  # type: ignore[attr-defined]  # a BytesIO while in memory
            self._file, self._in_memory = file, False
        self._file.write(chunk)

    def decoded(self, encoding: str) -> BinaryIO:
        """Return the whole body, decompressed and proven to be complete, from its beginning.

        Raises:
            GatewayError: it is broken, cut short or too large.
        """
        self._file.seek(0)
        if encoding in {"", "identity"}:
            return self._file
        plain = Spool(self._new_file)
        for piece in decoded(self._file, encoding):
            plain._append(piece)
        self.close()
        plain._file.seek(0)
        return plain._file

    def close(self) -> None:
        """Give memory and disk back."""
        self._file.close()


def read_form(request: Request, body: BinaryIO, content_type: str) -> None:
    """Take statement and parameters of a multipart form into the request.

    Raises:
        GatewayError: the form is malformed, too large, or carries external tables.
    """
    content = body.read(MAX_STATEMENT_BYTES + 1)
    if len(content) > MAX_STATEMENT_BYTES:
        raise GatewayError(errors.QUERY_IS_TOO_LARGE, f"A form can't be larger than {MAX_STATEMENT_BYTES} bytes")
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
        b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + content
    )
    if not message.is_multipart():
        raise GatewayError(errors.BAD_ARGUMENTS, "The multipart form is malformed")
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        if part.get_filename() is not None:
            raise GatewayError(errors.NOT_IMPLEMENTED, "Not supported by the gateway: external tables")
        payload = part.get_payload(decode=True)
        value = payload.decode() if isinstance(payload, bytes) else ""
        if name == "query":
            request.query = f"{request.query}\n{value}" if request.query else value
        elif isinstance(name, str) and name.startswith("param_"):
            request.params[name.removeprefix("param_")] = value
        else:
            raise GatewayError(errors.BAD_ARGUMENTS, f"Unknown field {name!r} of the form")


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """Yield a file in steps and close it."""
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
