"""Trying how somebody is reached: a message to each of their addresses, and what became of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.client.wire import fresh_id
from hitl_cli.engine.server import now_ms
from hitl_cli.errors import BadSetting, NotFound
from hitl_cli.notify.channels.registry import send
from hitl_cli.notify.messages import DeliveryFailed, Message
from hitl_cli.people.contacts import Address, recipients, silent_members
from hitl_cli.requests.question import GROUP

if TYPE_CHECKING:
    from hitl_cli.people.contacts import Contact, Directory


SUGGESTIONS = 3


class SampleResult(Struct, frozen=True, kw_only=True):
    """What became of a message to an address: why it was not taken, None if it was."""

    to: str
    address: Address
    refused: str | None = None


def try_addresses(name: str, directory: Directory, kind: str | None = None) -> list[SampleResult]:
    """Send a test to each address of a person or group, all at once; a group without any has its members'.

    Raises NotFound for a name that the settings do not know, BadInput where they say of no address.
    """
    wanted = [(to, one) for to, one in _addresses(name, directory) if kind in (None, one.kind)]
    if not wanted:
        what = f"by {kind}" if kind else "at all"
        raise BadSetting(f"the settings do not say how {name} is reached {what}: [people.NAME] email = …")

    async def try_all() -> list[SampleResult]:
        return await asyncio.gather(*(_try_address(to, one, directory) for to, one in wanted))

    return asyncio.run(try_all())


async def _try_address(to: str, address: Address, directory: Directory) -> SampleResult:
    """Send a test to an address."""
    id = f"test {fresh_id()}"
    subject, inbox = f"A test for {to}", f"{directory.gateway}/"
    message = Message(id=id, occasion="test", to=to, subject=subject, thread=id, inbox=inbox, at=now_ms())
    try:
        await send(message, address, directory)
    except DeliveryFailed as error:
        return SampleResult(to=to, address=address, refused=str(error))
    except Exception as error:  # noqa: BLE001 - a plugin's mistake must not hide how the others do
        return SampleResult(to=to, address=address, refused=f"it failed: {type(error).__name__}")
    return SampleResult(to=to, address=address)


def _addresses(name: str, directory: Directory) -> list[tuple[str, Address]]:
    """Return who is reached where, if a name is to be told something. Raises NotFound."""
    contact = directory.contact(name)
    if contact is None:
        person = directory.members.name(name)
        if groups := [group for group, members in silent_members(directory).items() if person in members]:
            raise BadSetting(
                f'{person} of group {", ".join(groups)} has no contact: write [people.{person}] email = "…".'
            )
        raise NotFound(f"the settings know nobody named {name!r}.{_suggestions(name, directory)}")
    if contact.addresses:
        return [(directory.members.name(name), address) for address in contact.addresses]
    members = sorted(recipients((name,), directory))
    return [(member, address) for member in members for address in directory.people[member].addresses]


def everybody(directory: Directory) -> list[tuple[str, Contact]]:
    """Return all whom the settings know, the people first."""
    groups = {f"{GROUP}{name}": group for name, group in directory.groups.items()}
    return [*directory.people.items(), *groups.items()]


def _suggestions(name: str, directory: Directory) -> str:
    """Return a sentence that names those who may be meant, or all there are."""
    import difflib

    known = [*directory.people, *directory.groups]
    near = difflib.get_close_matches(name.removeprefix(GROUP), known, n=SUGGESTIONS, cutoff=0.5)
    if near:
        return f" Did you mean {' or '.join(near)}?"
    return " They name nobody yet: [people.NAME] email = …" if not known else " `hitl notify list` shows all."
