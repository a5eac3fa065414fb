"""Compression of request and response bodies, streaming and with bounded memory.

Belongs here: HTTP `Content-Encoding` and `Accept-Encoding`. Does not belong here: ClickHouse's own block compression
(`compress=1`, `decompress=1`), which the gateway does not speak.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final, Protocol

import lz4.frame
import zstandard

from retail_local.gateway import errors
from retail_local.gateway.constants import CHUNK_BYTES, MAX_DECODED_BYTES
from retail_local.gateway.errors import GatewayError

_GZIP_WINDOW: Final = 31
_ZSTD_LEVEL: Final = 1
_GZIP_LEVEL: Final = 1


class _BoundedLz4:
    """An lz4 frame decoder that gives its output in steps, as lz4 itself would give all that a chunk unfolds to."""

    def __init__(self) -> None:
        self._inner: Any = lz4.frame.LZ4FrameDecompressor()

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def needs_input(self) -> bool:
        return bool(self._inner.needs_input)

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data or b""

    def decompress(self, data: bytes) -> bytes:
        return bytes(self._inner.decompress(data, max_length=CHUNK_BYTES))


class _BoundedZlib:
    """A zlib or gzip decoder that gives its output in steps."""

    def __init__(self, window: int) -> None:
        self._inner = zlib.decompressobj(window)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes) -> bytes:
        piece = self._inner.decompress(self._inner.unconsumed_tail + data, CHUNK_BYTES)
        # A full step may have left output behind although all input is consumed.
        self.needs_input = not self._inner.unconsumed_tail and len(piece) < CHUNK_BYTES
        return piece


class _Zstd:
    """A zstd frame decoder, which gives at once all that its input unfolds to: the caller keeps the steps small."""

    needs_input = True

    def __init__(self) -> None:
        self._inner = zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj()

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes) -> bytes:
        return self._inner.decompress(data)


_Bounded = _BoundedLz4 | _BoundedZlib | _Zstd

_DECODERS: Final[dict[str, Callable[[], _Bounded]]] = {
    "lz4": _BoundedLz4,
    "zstd": _Zstd,
    "gzip": lambda: _BoundedZlib(_GZIP_WINDOW),
    "x-gzip": lambda: _BoundedZlib(_GZIP_WINDOW),
    "deflate": lambda: _BoundedZlib(zlib.MAX_WBITS),
}
# Four bytes of zstd can unfold to 128 KiB, and its decoder has no bound of its own: small steps bound it to 32 MiB.
_STEP_BYTES: Final[dict[str, int]] = {"zstd": 1024}

ENCODINGS: Final = ("lz4", "zstd", "gzip", "deflate")
"""What the gateway can answer in, in the order of its preference."""


def decoded(source: BinaryIO, encoding: str) -> Iterator[bytes]:
    """Yield the decompressed content of `source`, which may hold several frames one after the other.

    Raises:
        GatewayError: the encoding is unknown, the data is broken or cut short, or it unfolds to more than the limit.
    """
    total = 0
    for piece in _frames(source, encoding):
        total += len(piece)
        if total > MAX_DECODED_BYTES:
            raise GatewayError(errors.QUERY_IS_TOO_LARGE, f"The body is larger than {MAX_DECODED_BYTES} bytes unpacked")
        yield piece


def _frames(source: BinaryIO, encoding: str) -> Iterator[bytes]:
    make = _DECODERS.get(encoding)
    if make is None:
        known = ", ".join(ENCODINGS)
        raise GatewayError(errors.NOT_IMPLEMENTED, f"Unknown Content-Encoding '{encoding}'; known are {known}")
    step = _STEP_BYTES.get(encoding, CHUNK_BYTES)
    decoder: _Bounded | None = None
    pending = b""
    try:
        while pending or (pending := source.read(step)):
            decoder = decoder or make()
            data, pending = pending, b""
            while True:
                if piece := decoder.decompress(data):
                    yield piece
                data = b""
                if decoder.eof:
                    pending, decoder = decoder.unused_data, None
                    break
                if decoder.needs_input:
                    break
    except (RuntimeError, zlib.error, zstandard.ZstdError, EOFError) as error:
        raise GatewayError(errors.INCORRECT_DATA, f"The {encoding} body is broken: {error}") from None
    if decoder is not None:
        raise GatewayError(errors.INCORRECT_DATA, f"The {encoding} body is cut short")


class _Encoder(Protocol):
    def begin(self) -> bytes: ...

    def compress(self, data: bytes) -> bytes: ...

    def flush(self) -> bytes: ...


class _Lz4Encoder:
    def __init__(self) -> None:
        self._inner: Any = lz4.frame.LZ4FrameCompressor(block_size=lz4.frame.BLOCKSIZE_MAX1MB)

    def begin(self) -> bytes:
        return bytes(self._inner.begin())

    def compress(self, data: bytes) -> bytes:
        return bytes(self._inner.compress(data))

    def flush(self) -> bytes:
        return bytes(self._inner.flush())


class _PlainEncoder:
    """zlib and zstandard compressors, which need no opening call."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def begin(self) -> bytes:
        return b""

    def compress(self, data: bytes) -> bytes:
        return bytes(self._inner.compress(data))

    def flush(self) -> bytes:
        return bytes(self._inner.flush())


_ENCODERS: Final[dict[str, Callable[[], _Encoder]]] = {
    "lz4": _Lz4Encoder,
    "zstd": lambda: _PlainEncoder(zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj()),
    "gzip": lambda: _PlainEncoder(zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)),
    "deflate": lambda: _PlainEncoder(zlib.compressobj(_GZIP_LEVEL)),
}


def encoded(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Yield `pieces` compressed as one frame in one of `ENCODINGS`."""
    encoder = _ENCODERS[encoding]()
    if head := encoder.begin():
        yield head
    for piece in pieces:
        if packed := encoder.compress(piece):
            yield packed
    yield encoder.flush()


def accepted(header: str) -> str | None:
    """Choose the encoding of the answer from an `Accept-Encoding` header; None means uncompressed."""
    offered = set()
    for part in header.lower().split(","):
        name, _, parameters = part.strip().partition(";")
        if parameters.replace(" ", "") not in {"q=0", "q=0.0"}:
            offered.add(name.strip())
    return next((name for name in ENCODINGS if name in offered), None)
