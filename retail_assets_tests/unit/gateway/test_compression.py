"""Bodies are unpacked completely or not at all, in bounded steps."""

import gzip
import io
import zlib

import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from retail_local.gateway import compression
from retail_local.gateway.errors import GatewayError

PACK = {
    "lz4": lz4.frame.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}


def unpack(body: bytes, encoding: str) -> bytes:
    return b"".join(compression.decoded(io.BytesIO(body), encoding))


@pytest.mark.parametrize("encoding", PACK)
@given(parts=st.lists(st.binary(max_size=2000), max_size=5))
def test_several_frames_are_one_body(encoding: str, parts: list[bytes]) -> None:
    assert unpack(b"".join(PACK[encoding](part) for part in parts), encoding) == b"".join(parts)


@pytest.mark.parametrize("encoding", PACK)
def test_a_body_cut_anywhere_is_refused(encoding: str) -> None:
    body = PACK[encoding](bytes(range(256)) * 50)
    for end in range(1, len(body), 7):
        with pytest.raises(GatewayError, match=r"cut short|broken"):
            unpack(body[:end], encoding)


@pytest.mark.parametrize("encoding", PACK)
def test_rubbish_behind_a_frame_is_refused(encoding: str) -> None:
    with pytest.raises(GatewayError, match=r"cut short|broken"):
        unpack(PACK[encoding](b"rows") + b"rubbish", encoding)


@pytest.mark.parametrize("encoding", PACK)
def test_a_tiny_body_that_unfolds_hugely_comes_in_bounded_pieces(encoding: str) -> None:
    size = 80 * 1024 * 1024
    body = PACK[encoding](bytes(size))
    total = largest = 0
    for piece in compression.decoded(io.BytesIO(body), encoding):
        total += len(piece)
        largest = max(largest, len(piece))
    assert total == size
    assert largest <= 32 * 1024 * 1024


@pytest.mark.parametrize("encoding", PACK)
def test_more_than_the_limit_is_refused(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "MAX_DECODED_BYTES", 1000)
    with pytest.raises(GatewayError, match="larger than 1000"):
        unpack(PACK[encoding](bytes(5000)), encoding)


@pytest.mark.parametrize("encoding", compression.ENCODINGS)
def test_what_the_gateway_packs_it_can_unpack(encoding: str) -> None:
    packed = b"".join(compression.encoded(iter([b"one", b"", b"two" * 1000]), encoding))
    assert unpack(packed, encoding) == b"one" + b"two" * 1000


@pytest.mark.parametrize(
    ("header", "chosen"),
    [("", None), ("identity", None), ("br", None), ("gzip, deflate", "gzip"), ("zstd,lz4", "lz4"),
     ("GZIP;q=0.5", "gzip"),
     ("lz4;q=0, gzip", "gzip")],
)  # fmt: skip
def test_the_best_encoding_that_the_client_takes_is_chosen(header: str, chosen: str | None) -> None:
    assert compression.accepted(header) == chosen
