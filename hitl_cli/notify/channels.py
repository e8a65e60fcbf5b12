"""The one place where a message goes out: which module sends to which kind of address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.notify.messages import NotSent

if TYPE_CHECKING:
    from hitl_cli.directory import Address, Directory
    from hitl_cli.notify.messages import Message


async def send(message: Message, address: Address, directory: Directory) -> None:
    """Send a message to an address. Raises NotSent if it was not taken; then it may be sent again."""
    from hitl_cli.notify import console, email, webhook  # noqa: PLC0415

    match address.kind:
        case "email":
            await email.send(message, address.to, directory)
        case "webhook":
            await webhook.send(message, address.to, directory.webhooks.secret)
        case "console":
            console.send(message)
        case _:
            raise NotSent(f"{address.kind} is not a channel yet", for_good=True)
