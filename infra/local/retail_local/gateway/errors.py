"""Errors as ClickHouse's HTTP interface shows them: code, name, text and HTTP status.

Belongs here: the one exception type of the gateway, and the translation of what the engine raises into it. Does not
belong here: deciding that something is wrong.
"""

import re
from typing import Final

from retail_local.gateway.constants import ENGINE_VERSION_UNKNOWN

BAD_ARGUMENTS: Final = (36, "BAD_ARGUMENTS")
NOT_IMPLEMENTED: Final = (48, "NOT_IMPLEMENTED")
SYNTAX_ERROR: Final = (62, "SYNTAX_ERROR")
UNKNOWN_FORMAT: Final = (73, "UNKNOWN_FORMAT")
UNKNOWN_SETTING: Final = (115, "UNKNOWN_SETTING")
INCORRECT_DATA: Final = (117, "INCORRECT_DATA")
READONLY: Final = (164, "READONLY")
REQUIRED_PASSWORD: Final = (194, "REQUIRED_PASSWORD")
TOO_MANY_SIMULTANEOUS_QUERIES: Final = (202, "TOO_MANY_SIMULTANEOUS_QUERIES")
QUERY_IS_TOO_LARGE: Final = (223, "QUERY_IS_TOO_LARGE")
SESSION_NOT_FOUND: Final = (372, "SESSION_NOT_FOUND")
SESSION_IS_LOCKED: Final = (373, "SESSION_IS_LOCKED")
SETTING_CONSTRAINT_VIOLATION: Final = (452, "SETTING_CONSTRAINT_VIOLATION")
ACCESS_DENIED: Final = (497, "ACCESS_DENIED")
AUTHENTICATION_FAILED: Final = (516, "AUTHENTICATION_FAILED")
UNKNOWN_EXCEPTION: Final = (1002, "UNKNOWN_EXCEPTION")

UNAUTHORIZED: Final = 401

# The mapping of a ClickHouse server, so that a client's retry rules behave the same here.
_STATUS_OF_CODE: Final[dict[int, int]] = {
    REQUIRED_PASSWORD[0]: UNAUTHORIZED,
    **dict.fromkeys((192, 193, 497, 512, 516), 403),
    **dict.fromkeys((6, 15, 16, 25, 26, 27, 36, 38, 41, 44, 53, 62, 69, 72, 117, 167, 168, 223, 376, 427), 400),
    **dict.fromkeys((223,), 413),
    **dict.fromkeys((46, 47, 50, 56, 60, 63, 73, 78, 81, 106, 115, 336, 511), 404),
    NOT_IMPLEMENTED[0]: 501,
    **dict.fromkeys((76, 209, 439), 503),
    TOO_MANY_SIMULTANEOUS_QUERIES[0]: 503,
    159: 408,
    381: 411,
}

_CODE: Final = re.compile(r"Code: (\d+)\. (?:DB::\w+: )?")
_NAME: Final = re.compile(r"\(([A-Z][A-Z0-9_]{2,})\)(?: \(version [^)]*(?:\([^)]*\))?\))?\.?\s*$")
_VERSION: Final = re.compile(r"\s*\(version [\d.]+(?: \([^)]*\))?\)\.?")
_WRAPPERS: Final = re.compile(r"^(?:Streaming (?:insert (?:append|finish)|query) failed: )+")
# Statements are analysed by asking the engine; its message then ends with the question, which says nothing to a user.
_OWN_QUESTION: Final = re.compile(r":? In scope SELECT (?:formatQuery\w*|parseQueryToJSON)\(.*", re.DOTALL)


class GatewayError(Exception):
    """A request that fails, with what a ClickHouse server would answer.

    Attributes:
        code: ClickHouse's number of the error.
        name: ClickHouse's name of the error.
        text: what is wrong, for a reader who has only this.
    """

    def __init__(self, kind: tuple[int, str], text: str) -> None:
        """Take the `(code, name)` pair of the error and its text."""
        self.code, self.name = kind
        self.text = text
        super().__init__(text)

    @property
    def status(self) -> int:
        """The HTTP status that goes with the code."""
        return _STATUS_OF_CODE.get(self.code, 500)

    def body(self, version: str = ENGINE_VERSION_UNKNOWN) -> str:
        """Return the response body, in the shape that clients parse."""
        return f"Code: {self.code}. DB::Exception: {self.text} ({self.name}) (version {version} (official build))\n"


def from_engine(error: BaseException) -> GatewayError:
    """Translate an exception of the engine; its text carries code and name, sometimes twice."""
    text = _WRAPPERS.sub("", str(error)).strip()
    codes = list(_CODE.finditer(text))
    if not codes:
        return GatewayError(UNKNOWN_EXCEPTION, text or type(error).__name__)
    name = _NAME.search(text)
    # The engine repeats "Code: N." when one of its layers wraps another's exception: the first number is the last
    # layer's verdict, the words are those after the last repetition at the start.
    start = codes[0].end()
    for found in codes[1:]:
        if found.start() != start:
            break
        start = found.end()
    words = text[start : name.start() if name else None]
    words = _OWN_QUESTION.sub("", _VERSION.sub("", words))
    words = re.sub(r"\s*\(" + (name.group(1) if name else "") + r"\)\.?\s*$", "", words) if name else words
    return GatewayError((int(codes[0].group(1)), name.group(1) if name else UNKNOWN_EXCEPTION[1]), words.strip())
