"""Asking each service, over its own protocol, whether it can do its work.

Belongs here: one check for each service. A check returns a short text about what answered, or raises `UnhealthyError`.
Does not belong here: how often to ask, and what to do about the answer.
"""

import contextlib
import http.client
import json
import logging
import socket
from typing import Any, Final

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from retail_assets.settings import Settings
from retail_local import broker
from retail_local.errors import StackError
from retail_local.ports import LOOPBACK

_SECONDS: Final = 5
_OK: Final = 200


class UnhealthyError(StackError):
    """A service did not answer as it should."""


def kafka(settings: Settings) -> str:
    """Make a round trip to the broker's metadata, and compare its cluster id with ours.

    Raises:
        UnhealthyError: no answer, or another cluster answers.
    """
    # While a broker starts, refused connections are what is expected; the client would log each.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    client: Any = None
    try:
        # The client would try a refused connection again and again until its time is over.
        socket.create_connection((LOOPBACK, settings.kafka_port), timeout=_SECONDS).close()
        client = KafkaAdminClient(
            bootstrap_servers=f"{LOOPBACK}:{settings.kafka_port}",
            client_id="retail-health",
            request_timeout_ms=_SECONDS * 1000,
            bootstrap_timeout_ms=_SECONDS * 1000,
        )
        cluster = client.describe_cluster()
        topics = len(client.list_topics())
    except (KafkaError, OSError, ValueError) as error:
        raise UnhealthyError(f"no answer ({type(error).__name__})") from None
    finally:
        if client is not None:
            with contextlib.suppress(KafkaError, OSError):
                client.close()
    found = str(cluster.get("cluster_id"))
    expected = broker.cluster_id(settings)
    if expected is not None and found != expected:
        raise UnhealthyError(f"another Kafka cluster ({found}) answers on port {settings.kafka_port}")
    return f"{topics} topics"


def warehouse(settings: Settings) -> str:
    """Ask the gateway whether its engine answers.

    Raises:
        UnhealthyError: no answer, or an error.
    """
    _get(settings.clickhouse_port, "/healthz")
    return "ready"


def dagster(settings: Settings) -> str:
    """Ask Dagster's webserver for its version.

    Raises:
        UnhealthyError: no answer, or an error.
    """
    body = _get(settings.dagster_port, "/server_info")
    try:
        return f"version {json.loads(body)['dagster_webserver_version']}"
    except (ValueError, KeyError, TypeError):
        raise UnhealthyError("something else than Dagster answers") from None


def s3(port: int) -> str:
    """Ask the S3 server for its buckets without a name; being turned away is the right answer.

    Raises:
        UnhealthyError: no answer, or one without asking for credentials.
    """
    _get(port, "/", expected=http.client.FORBIDDEN)
    return "asks for credentials"


def _get(port: int, path: str, expected: int = _OK) -> bytes:
    # http.client and not urllib: a proxy set for the user's shell must not stand between us and the loopback.
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise UnhealthyError(f"no answer ({type(error).__name__})") from None
    finally:
        connection.close()
    if response.status != expected:
        raise UnhealthyError(f"GET {path} answers {response.status} instead of {expected}")
    return body
