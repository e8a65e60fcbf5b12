"""Whether the official package of the protocol is installed."""

from __future__ import annotations

from importlib import import_module

from hitl_cli.errors import extra


def require_mcp() -> None:
    """Raise MissingExtra where it is not."""
    with extra("mcp"):
        import_module("mcp")
