"""Sends messages through the channel of their address: hitl's own, or a plugin's."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Protocol, TypeGuard, runtime_checkable

from hitl_cli import plugins
from hitl_cli.notify.messages import DeliveryFailed
from hitl_cli.notify.phrases import one_line

if TYPE_CHECKING:
    from hitl_cli.notify.messages import Message
    from hitl_cli.people.contacts import Address, Directory


RECEIPT_CHARS = 300
"""Characters of a receiver's response that are recorded."""


@runtime_checkable
class Channel(Protocol):
    """A way to reach people: an object or a module with these functions.

    Register it as an entry point of the group `hitl.channels`. Its name is the key of its addresses in
    contacts (`[people.NAME]`).
    """

    async def send(self, message: Message, to: str, directory: Directory) -> str | None:
        """Send a message to an address. Raises DeliveryFailed if it was not accepted.

        The returned text is recorded: the receiver's response, which helps its operator to find the message.
        """

    def shown(self, to: str) -> str:
        """Return an address without its secrets."""


async def send(message: Message, address: Address, directory: Directory) -> str | None:
    """Send a message to an address, and return the receiver's response.

    Raises DeliveryFailed if it was not accepted; then it may be sent again.
    """
    channel = _channel(address.kind)
    if channel is None:
        raise DeliveryFailed(f"the channel {address.kind} is not available here.", for_good=True)
    said: object = await channel.send(message, address.to, directory)  # a plugin may return anything
    return one_line(said, RECEIPT_CHARS) if isinstance(said, str) else None


def shown(address: Address) -> str:
    """Return an address without its secrets."""
    channel = _channel(address.kind)
    return "…" if channel is None else channel.shown(address.to)


@cache
def _channel(kind: str) -> Channel | None:
    """Return a channel; None if no plugin provides it, or the plugin is broken."""
    plugin = plugins.find("hitl.channels", kind)
    return None if plugin is None else plugins.load(plugin, _is_channel)


def _is_channel(found: object) -> TypeGuard[Channel]:
    return isinstance(found, Channel)
