"""Output of the commands: results on stdout, notes on stderr."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from hitl_cli.format.terminal import printable, printable_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.people.groups import Groups


def print_json(document: Any) -> None:
    """Write one JSON document to stdout."""
    import msgspec

    print(printable_json(msgspec.json.format(msgspec.json.encode(document), indent=2).decode()))


def note(message: str, address: str = "") -> None:
    """Write a note to stderr. A closed stderr is not an error.

    On a terminal, `address` (a URL of hitl, at the end of the note) can be clicked.
    """
    if sys.stderr is None:
        return  # `print` would take stdout instead
    try:
        print(printable(message) + (f" {hyperlink(address, sys.stderr)}" if address else ""), file=sys.stderr)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def note_unknown(names: Sequence[str], groups: Groups) -> None:
    """Write a note about names of people and groups that are not in the settings, if there are any."""
    from hitl_cli.people.groups import unknown_people

    if unknown := groups.unknown(names):
        note(unknown_people(unknown, groups))


def is_terminal(*streams: TextIO | None) -> bool:
    """Whether all these streams are terminals."""
    return all(stream is not None and stream.isatty() for stream in streams)


def hyperlink(url: str, stream: TextIO | None = None) -> str:
    """Return a URL of hitl; on a terminal a hyperlink (OSC 8), which can be clicked even where it wraps."""
    if os.environ.get("TERM") == "dumb" or not is_terminal(stream or sys.stdout):
        return url
    return f"\x1b]8;;{url}\x1b\\{url}\x1b]8;;\x1b\\"


def silence_stdout() -> None:
    """Discard all further output to stdout, after the reader has closed it."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
