"""What the engine raises becomes what a server would answer."""

import pytest

from retail_local.gateway.errors import GatewayError, from_engine


@pytest.mark.parametrize(
    ("raised", "code", "name", "text"),
    [
        ("Code: 60. DB::Exception: Unknown table x. (UNKNOWN_TABLE)", 60, "UNKNOWN_TABLE", "Unknown table x."),
        ("Streaming insert finish failed: Code: 27. DB::Exception: Bad row. (CANNOT_PARSE_X) (version 26.9.2.1)",
         27, "CANNOT_PARSE_X", "Bad row."),
        ("Code: 164. DB::Exception: Code: 164. DB::Exception: No. (READONLY) (version 26.9.2.1). (READONLY)",
         164, "READONLY", "No."),
        ("Code: 400. DB::ErrnoException: Cannot stat. (CANNOT_STAT)", 400, "CANNOT_STAT", "Cannot stat."),
        ("Code: 62. DB::Exception: Syntax error: x. : In scope SELECT formatQuery('x'), 1. (SYNTAX_ERROR)",
         62, "SYNTAX_ERROR", "Syntax error: x."),
        ("something else", 1002, "UNKNOWN_EXCEPTION", "something else"),
    ],
)  # fmt: skip
def test_code_name_and_words_are_found(raised: str, code: int, name: str, text: str) -> None:
    error = from_engine(RuntimeError(raised))
    assert (error.code, error.name, error.text) == (code, name, text)


@pytest.mark.parametrize(
    ("code", "status"), [(60, 404), (62, 400), (516, 403), (497, 403), (194, 401), (164, 500), (159, 408)]
)
def test_the_status_follows_the_code(code: int, status: int) -> None:
    assert GatewayError((code, "X"), "").status == status


def test_the_body_has_the_shape_that_clients_parse() -> None:
    body = GatewayError((60, "UNKNOWN_TABLE"), "No table x.").body("26.9.2.1")
    assert body == "Code: 60. DB::Exception: No table x. (UNKNOWN_TABLE) (version 26.9.2.1 (official build))\n"
