"""Who is asking: the two users of the gateway and how a request proves to be one of them.

Belongs here: reading the password files and checking credentials. Does not belong here: what a user may do, which is
`policy`.
"""

import base64
import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from retail_local.gateway import errors
from retail_local.gateway.errors import GatewayError


class User(StrEnum):
    """The users of the gateway."""

    ETL = "etl"
    BI_READER = "bi_reader"


class SecretsError(Exception):
    """A password file is missing or empty; the message names it."""


@dataclass(frozen=True, repr=False)
class Passwords:
    """The passwords of all users. Has no repr, so that none can reach a log."""

    by_user: Mapping[User, bytes]

    @classmethod
    def read(cls, folder: Path) -> "Passwords":
        """Read `folder/clickhouse_<user>` for each user.

        Raises:
            SecretsError: a file is missing, unreadable or empty.
        """
        found: dict[User, bytes] = {}
        for user in User:
            path = folder / f"clickhouse_{user}"
            try:
                password = path.read_text(encoding="utf-8").strip().encode()
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "not a text file"
                raise SecretsError(f"cannot read the password of {user} from {path}: {reason}") from None
            if not password:
                raise SecretsError(f"the password file of {user} is empty: {path}")
            found[user] = password
        return cls(found)

    def check(self, name: str, password: str) -> User:
        """Return the user, if the password is right.

        Raises:
            GatewayError: unknown user or wrong password; the two look the same.
        """
        right: User | None = None
        for user, expected in self.by_user.items():
            # All are compared, so that the time taken does not tell which names exist.
            same_name = hmac.compare_digest(user.encode(), name.encode())
            same_password = hmac.compare_digest(expected, password.encode())
            if same_name and same_password:
                right = user
        if right is None:
            raise GatewayError(
                errors.AUTHENTICATION_FAILED,
                f"{name}: Authentication failed: password is incorrect, or there is no user with such name.",
            )
        return right


def authenticate(passwords: Passwords, headers: Mapping[str, str], params: Mapping[str, str]) -> User:
    """Return the user of a request, by Basic authentication, ClickHouse's headers or URL parameters.

    Raises:
        GatewayError: no credentials, two kinds of credentials at once, or wrong ones.
    """
    given: list[tuple[str, str]] = []
    if "authorization" in headers:
        given.append(_basic(headers["authorization"]))
    if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
        given.append((headers.get("x-clickhouse-user", ""), headers.get("x-clickhouse-key", "")))
    if "user" in params or "password" in params:
        given.append((params.get("user", ""), params.get("password", "")))
    if not given:
        raise GatewayError(
            errors.REQUIRED_PASSWORD,
            "Credentials are required: Basic authentication, the headers X-ClickHouse-User and X-ClickHouse-Key, "
            "or the URL parameters user and password.",
        )
    if len(given) > 1:
        raise GatewayError(
            errors.AUTHENTICATION_FAILED,
            "Invalid authentication: it is not allowed to use several kinds of credentials in one request.",
        )
    return passwords.check(*given[0])


def _basic(header: str) -> tuple[str, str]:
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        raise GatewayError(errors.AUTHENTICATION_FAILED, "Only the Basic scheme of the Authorization header is known.")
    try:
        name, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon, name, password = "", "", ""
    if not colon:
        raise GatewayError(errors.AUTHENTICATION_FAILED, "The Basic credentials are malformed.")
    return name, password
