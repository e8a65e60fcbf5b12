"""From the event loop to the server (hitl_cli/bridge.py), and whether that can be asked anything now."""

from __future__ import annotations

from hitl_cli.bridge import Bridge
from hitl_cli.errors import Unreachable

__all__ = ["Bridge", "reachable"]


async def reachable(bridge: Bridge) -> str | None:
    """Return why the server cannot be asked anything now, or None."""
    from hitl_cli.client import get_promise  # noqa: PLC0415

    try:
        await bridge.run(get_promise, "hitl")
    except Unreachable as error:
        return str(error)
    return None
