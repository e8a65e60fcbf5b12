"""Plugins that cannot be used, each in another way."""

from __future__ import annotations

number = 7


def authenticator(context: object) -> object:
    raise RuntimeError("first line\nsecond line")


def strange(a: complex) -> None:
    """Take an option that Typer cannot read."""
