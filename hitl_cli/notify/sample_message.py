"""Test messages: sends one to each address of a person or group, and reports the results."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.client.wire import fresh_id
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.errors import BadSetting, NotFound
from hitl_cli.format.toml import toml_name
from hitl_cli.notify.channels.registry import send
from hitl_cli.notify.messages import DeliveryFailed, Message
from hitl_cli.people.contacts import Address, recipients, silent_members
from hitl_cli.people.groups import bare_name, is_group
from hitl_cli.requests.question import GROUP

if TYPE_CHECKING:
    from hitl_cli.people.contacts import Contact, Directory


SUGGESTIONS = 3


class SampleResult(Struct, frozen=True, kw_only=True):
    """The result of a test message. `refused` is why it was not accepted; None if it was."""

    to: str
    address: Address
    refused: str | None = None


def try_addresses(name: str, directory: Directory, kind: str | None = None) -> list[SampleResult]:
    """Send a test message to each address of a person or group, in parallel.

    For a group without addresses, these are the addresses of its members.

    Raises NotFound for an unknown name, BadSetting if there is no address.
    """
    wanted = [(to, one) for to, one in _addresses(name, directory) if kind in (None, one.kind)]
    if not wanted:
        what = f"{kind} address" if kind else "address"
        table = f"{'groups' if is_group(name) else 'people'}.{toml_name(bare_name(name))}"
        raise BadSetting(f'no {what} for {name} in the settings: add one, such as [{table}] email = "…".')

    async def try_all() -> list[SampleResult]:
        return await asyncio.gather(*(_try_address(to, one, directory) for to, one in wanted))

    return asyncio.run(try_all())


async def _try_address(to: str, address: Address, directory: Directory) -> SampleResult:
    """Send a test message to an address."""
    id = f"test {fresh_id()}"
    subject, inbox = f"Test message for {to}", f"{directory.gateway}/"
    message = Message(id=id, occasion="test", to=to, subject=subject, thread=id, inbox=inbox, at=now_ms())
    try:
        await send(message, address, directory)
    except DeliveryFailed as error:
        return SampleResult(to=to, address=address, refused=str(error))
    except Exception as error:  # noqa: BLE001 - a broken plugin must not hide the other results
        return SampleResult(to=to, address=address, refused=f"unexpected error: {type(error).__name__}")
    return SampleResult(to=to, address=address)


def _addresses(name: str, directory: Directory) -> list[tuple[str, Address]]:
    """Return the recipients and addresses for a name. Raises NotFound, BadSetting."""
    contact = directory.contact(name)
    if contact is None:
        person = directory.members.name(name)
        if groups := [group for group, members in silent_members(directory).items() if person in members]:
            raise BadSetting(
                f'{person} of group {", ".join(groups)} has no contact: add [people.{person}] email = "…".'
            )
        raise NotFound(f"no contact {name!r} in the settings.{_suggestions(name, directory)}")
    if contact.addresses:
        return [(directory.members.name(name), address) for address in contact.addresses]
    members = sorted(recipients((name,), directory))
    return [(member, address) for member in members for address in directory.people[member].addresses]


def everybody(directory: Directory) -> list[tuple[str, Contact]]:
    """Return all contacts, people first."""
    groups = {f"{GROUP}{name}": group for name, group in directory.groups.items()}
    return [*directory.people.items(), *groups.items()]


def _suggestions(name: str, directory: Directory) -> str:
    """Return a sentence with similar names, or with how to see or add contacts."""
    import difflib

    known = [*directory.people, *directory.groups]
    near = difflib.get_close_matches(name.removeprefix(GROUP), known, n=SUGGESTIONS, cutoff=0.5)
    if near:
        return f" Did you mean {' or '.join(near)}?"
    if known:
        return " To see all contacts, run `hitl notify list`."
    return " There are no contacts yet: `hitl notify list` shows how to add one."
