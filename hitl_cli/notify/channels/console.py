"""Messages on the worker's own terminal: a line for each request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.notify.phrases import VALUE_CHARS, one_line, subject_of, title_of

if TYPE_CHECKING:
    from hitl_cli.notify.messages import Message


def send(message: Message) -> None:
    """Print a message: to whom, what, and where one answers it."""
    to = one_line(message.to, VALUE_CHARS)
    if len(message.items) == 1:
        lines = [f"{to}: {subject_of(message)} {message.items[0].url}"]
    else:
        lines = [f"{to}: {subject_of(message)} {message.inbox}"]
        lines += [f"  {title_of(item)} {item.url}" for item in message.items]
    print("\n".join(lines), flush=True)
