"""Parameters, headers and bodies are sorted into what they mean."""

import io
import tempfile

import pytest

from retail_local.gateway import request as requests
from retail_local.gateway.errors import GatewayError
from retail_local.gateway.request import Spool, describe


def test_settings_are_what_is_left_of_the_url() -> None:
    one = describe(
        "POST",
        {"query": "SELECT 1", "database": "d", "max_threads": "2", "param_x": "5", "session_id": "s", "query_id": "q",
         "wait_end_of_query": "1", "client_protocol_version": "54405", "default_format": "CSV"},
        {},
    )  # fmt: skip
    assert one.settings == {"max_threads": "2"}
    assert one.params == {"x": "5"}
    assert (one.database, one.session_id, one.query_id, one.default_format) == ("d", "s", "q", "CSV")


def test_answers_are_compressed_only_when_the_client_says_so_twice() -> None:
    headers = {"accept-encoding": "gzip"}
    assert describe("POST", {}, headers).answer_encoding is None
    assert describe("POST", {"enable_http_compression": "1"}, {}).answer_encoding is None
    assert describe("POST", {"enable_http_compression": "1"}, headers).answer_encoding == "gzip"


@pytest.mark.parametrize("name", ["compress", "decompress", "role", "quota_key"])
def test_what_is_not_supported_is_said(name: str) -> None:
    with pytest.raises(GatewayError, match="Not supported"):
        describe("POST", {name: "1"}, {})


def test_a_long_body_goes_to_a_file_and_comes_back_whole() -> None:
    files = []

    def new_file() -> object:
        files.append(tempfile.TemporaryFile())  # noqa: SIM115 - the spool closes it
        return files[-1]

    spool = Spool(new_file)  # type: ignore[arg-type]
    chunks = [bytes([i % 256]) * 700_000 for i in range(10)]
    for chunk in chunks:
        spool.write(chunk)
    assert len(files) == 1
    assert spool.decoded("").read() == b"".join(chunks)
    spool.close()
    assert files[0].closed


def test_a_short_body_needs_no_file() -> None:
    spool = Spool(pytest.fail)
    spool.write(b"rows")
    assert spool.decoded("identity").read() == b"rows"


def test_a_body_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MAX_BODY_BYTES", 10)
    spool = Spool(io.BytesIO)
    with pytest.raises(GatewayError, match="larger than 10 bytes"):
        spool.write(b"12345678901")
