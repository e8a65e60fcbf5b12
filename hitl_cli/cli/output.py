"""How a command writes its result and its notes."""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO

from hitl_cli.format.terminal import printable, printable_json


def print_json(document: Any) -> None:
    """Write one JSON document to stdout."""
    import msgspec

    print(printable_json(msgspec.json.format(msgspec.json.encode(document), indent=2).decode()))


def note(message: str, address: str = "") -> None:
    """Write a note for the person to stderr. That nobody can read it is no failure.

    An address (a URL of ours) that it ends with can be opened on a terminal.
    """
    if sys.stderr is None:
        return  # `print` would take stdout instead
    try:
        print(printable(message) + (f" {hyperlink(address, sys.stderr)}" if address else ""), file=sys.stderr)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def is_terminal(*streams: TextIO | None) -> bool:
    """Whether a person is at the other end of these streams, and not a program or nobody at all."""
    return all(stream is not None and stream.isatty() for stream in streams)


def hyperlink(url: str, stream: TextIO | None = None) -> str:
    """Return a URL of ours; on a terminal one that can be opened, however it is wrapped (OSC 8)."""
    if os.environ.get("TERM") == "dumb" or not is_terminal(stream or sys.stdout):
        return url
    return f"\x1b]8;;{url}\x1b\\{url}\x1b]8;;\x1b\\"


def silence_stdout() -> None:
    """Let everything that is printed from here on go nowhere, because nobody can read it."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
