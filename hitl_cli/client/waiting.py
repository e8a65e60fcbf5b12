"""Waiting for a change on a server, also across a restart of the server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hitl_cli.errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.client.protocol import Client

PATIENCE_S = 60.0
"""How long a server may be unreachable during a wait: it may be restarting."""

LOOK_EVERY_S = 5.0
"""The longest time between two looks, even if the server reports no change."""

LOST = ("file-moved", "format-changed")
"""Codes of permanent errors: the open file is no longer the server's file."""


def wait_until[T](
    client: Client,
    look: Callable[[], T | None],
    *,
    timeout_s: float | None = None,
    left: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> T | None:
    """Return the first result of `look` that is not None; None after `timeout_s` seconds or once `left()`.

    `look` is called whenever something may have changed. While the server is unreachable it is tried again
    for PATIENCE_S, unless its file was moved, removed or replaced. Reach the server once before you wait, so
    that a wrong URL fails at once. Raises Unreachable, and what `look` raises.
    """
    end = None if timeout_s is None else clock() + timeout_s
    heard_at = clock()
    while True:
        found = None
        try:
            found = look()
            heard_at = clock()
        except Unreachable as error:
            if error.code in LOST or clock() > heard_at + PATIENCE_S:
                raise
        rest = LOOK_EVERY_S if end is None else min(end - clock(), LOOK_EVERY_S)
        if found is not None or rest <= 0 or left():
            return found
        client.wait(rest)
