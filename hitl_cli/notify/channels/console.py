"""Messages on the worker's terminal: one line per request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.notify.phrases import VALUE_CHARS, one_line, subject_of, title_of

if TYPE_CHECKING:
    from hitl_cli.notify.messages import Message
    from hitl_cli.people.contacts import Directory


async def send(message: Message, to: str, directory: Directory) -> None:  # noqa: ARG001 - Channel has them
    """Print a message: the person, the subject, and the URL to answer."""
    name = one_line(message.to, VALUE_CHARS)
    if len(message.items) == 1:
        lines = [f"{name}: {subject_of(message)} {message.items[0].url}"]
    else:
        lines = [f"{name}: {subject_of(message)} {message.inbox}"]
        lines += [f"  {title_of(item)} {item.url}" for item in message.items]
    print("\n".join(lines), flush=True)


def shown(to: str) -> str:  # noqa: ARG001 - there is one terminal
    """Return the name of this channel's only address, which is empty."""
    return "the worker's terminal"
