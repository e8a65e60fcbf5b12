"""Checks that the official package `mcp` is installed."""

from __future__ import annotations

from importlib import import_module

from hitl_cli.errors import extra


def require_mcp() -> None:
    """Raise MissingExtra if the package is not installed."""
    with extra("mcp"):
        import_module("mcp")
