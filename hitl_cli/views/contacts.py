"""Contacts, and the results of test messages, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.notify.channels.registry import shown
from hitl_cli.people.contacts import GroupContact

if TYPE_CHECKING:
    from hitl_cli.notify.sample_message import SampleResult
    from hitl_cli.people.contacts import Contact


class AddressDocument(Struct, frozen=True, kw_only=True):
    """An address without its secrets, and its channel."""

    by: str
    where: str


class ContactDocument(Struct, frozen=True, kw_only=True):
    """The contact of a person or group. `digest` is how long their messages are collected."""

    name: str
    addresses: list[AddressDocument]
    members: tuple[str, ...]
    digest: str | None


class TestResultDocument(Struct, frozen=True, kw_only=True):
    """The result of a test message to an address."""

    to: str
    by: str
    where: str
    taken: bool
    why_not: str | None


def contact_document(name: str, contact: Contact) -> ContactDocument:
    """Return the contact of a person or group."""
    return ContactDocument(
        name=name,
        addresses=[AddressDocument(by=one.kind, where=shown(one)) for one in contact.addresses],
        members=contact.members if isinstance(contact, GroupContact) else (),
        digest=contact.digest,
    )


def result_document(one: SampleResult) -> TestResultDocument:
    """Return the result of a test message."""
    return TestResultDocument(
        to=one.to,
        by=one.address.kind,
        where=shown(one.address),
        taken=one.refused is None,
        why_not=one.refused,
    )
