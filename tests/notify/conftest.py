"""Fixtures: what receives messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.notify.receivers import HttpReceiver, Mailbox

if TYPE_CHECKING:
    from collections.abc import Iterator


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
