"""Messages on the worker's own terminal: a line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.text import printable

if TYPE_CHECKING:
    from hitl_cli.notify.messages import Message


def send(message: Message) -> None:
    """Print a message as a line."""
    print(
        printable(f"{message.to}: {message.subject} {message.items[0].url if message.items else ''}"),
        flush=True,
    )
