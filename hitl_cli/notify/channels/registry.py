"""The one place where a message goes out: which module sends to which kind of address."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hitl_cli.notify.messages import Message
    from hitl_cli.people.contacts import Address, Directory


async def send(message: Message, address: Address, directory: Directory) -> None:
    """Send a message to an address. Raises NotSent if it was not taken; then it may be sent again."""
    from hitl_cli.notify.channels import apprise, console, email, slack, webhook

    match address.kind:
        case "email":
            await email.send(message, address.to, directory)
        case "webhook":
            await webhook.send(message, address.to, directory.webhooks.secret)
        case "slack":
            clickable = any(hook.kind == "slack" for hook in directory.hooks.values())
            await slack.send(message, address.to, clickable=clickable)
        case "apprise":
            await apprise.send(message, address.to)
        case "console":
            console.send(message)
