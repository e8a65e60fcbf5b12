"""Whether the official package of the protocol is installed."""

from __future__ import annotations

from importlib.util import find_spec

from hitl_cli.errors import BadUsage


def require_mcp() -> None:
    """Raise BadUsage where it is not."""
    if find_spec("mcp") is None:
        raise BadUsage("MCP needs the extra mcp: pip install 'resonate-hitl[mcp]'.")
