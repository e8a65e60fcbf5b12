"""Fixtures: what receives messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.gateway.conftest import start_gateway
from tests.notify.receivers import HttpReceiver, Mailbox

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["mailbox", "receiver", "start_gateway"]


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """An SMTP server that takes every mail."""
    with Mailbox() as box:
        yield box


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    """An HTTP server that takes whatever is posted."""
    with HttpReceiver() as server:
        yield server
