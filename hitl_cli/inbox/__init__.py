"""`Inbox`: what an actor does with requests, such as list and decide them. Every front end calls it.

It uses only the protocol, so it works with every server, and with requests from other tools and SDKs
(docs/reference/wire.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hitl_cli.inbox.inbox import Inbox

__all__ = ["Inbox"]


def __getattr__(name: str) -> object:
    """Return `Inbox`, imported when first used: each command imports only the modules that it needs."""
    if name != "Inbox":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from hitl_cli.inbox.inbox import Inbox

    return Inbox
