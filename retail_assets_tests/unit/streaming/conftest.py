"""What the service's unit tests share."""

import logging
from collections.abc import Iterator

import pytest

from retail_streaming.logs import LOG


@pytest.fixture
def seen(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Return what the service logs meanwhile."""
    with caplog.at_level(logging.INFO, LOG.name):
        yield caplog
