"""What is well and what is not with how people are reached, for `hitl doctor`. Nothing is sent."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from hitl_cli.errors import BadInput
from hitl_cli.format.names import folded, skeleton
from hitl_cli.views.doctor import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hitl_cli.people.contacts import Contact, Directory, EmailSettings
    from hitl_cli.settings import Settings

PATIENCE_S = 3.0
"""How long a mail server has to take a connection."""


def examine_people(settings: Settings) -> list[Finding]:
    """Return what there is to say of the people, groups and channels in the settings."""
    try:
        directory = settings.directory()
    except BadInput as error:
        return [Finding("people", "warning", str(error), "set it where workers and gateways run")]
    contacts = (*directory.people.values(), *directory.groups.values())
    kinds = {address.kind for contact in contacts for address in contact.addresses}
    findings = [*_judge_people(directory), *_judge_email(directory.email, wanted="email" in kinds)]
    if "webhook" in kinds and directory.webhooks.secret is None:
        advice = 'set [webhooks] secret = "$NAME" (docs/notifications.md)'
        unsigned = "they are not signed: anybody could send such ones"
        findings.append(Finding("webhooks", "warning", unsigned, advice))
    return findings


def _judge_people(directory: Directory) -> Iterator[Finding]:
    """Judge whether those who are named can be reached."""
    if not directory.people and not directory.groups:
        return
    counts = f"people: {len(directory.people):,}, groups: {len(directory.groups):,}"
    yield Finding("people", "ok", f"in the settings are {counts}")
    members = (directory.members.name(name) for group in directory.groups.values() for name in group.members)
    yield from _judge_names([*directory.people, *members])
    yield from _judge_names(directory.groups)
    yield from _judge_addresses(directory.people)
    silent = [name for name, contact in directory.people.items() if not contact.addresses]
    if silent:
        yield Finding("people", "ok", f"told nothing, for they have no address: {', '.join(silent)}")


def _judge_names(names: Iterable[str]) -> Iterator[Finding]:
    """Judge whether two names are easily taken for each other."""
    shown: dict[str, str] = {}
    for name in names:
        other = shown.setdefault(skeleton(name), name)
        if other != name:
            text = f"{other} and {name} look alike, and are not the same ({other!a}, {name!a})"
            yield Finding("people", "warning", text, "rename one of them, unless both are meant")


def _judge_addresses(people: Mapping[str, Contact]) -> Iterator[Finding]:
    """Judge whether an address says who somebody is."""
    every = [folded(contact.email) for contact in people.values() if contact.email]
    for address in sorted({address for address in every if every.count(address) > 1}):
        text = f"several people have the address {address}: by it nobody can be named"
        yield Finding("people", "warning", text, "give each their own, or make a group with the address")


def _judge_email(email: EmailSettings | None, *, wanted: bool) -> Iterator[Finding]:
    """Judge whether mail can be sent, if it is wanted."""
    if email is None:
        if wanted:
            advice = 'write [email] host = "…" into the settings (docs/notifications.md)'
            yield Finding("email", "warning", "people have addresses, and nothing says how to send", advice)
        return
    where = f"{email.host}:{email.port}"
    if email.tls == "none" and email.password is not None and email.host not in ("localhost", "127.0.0.1"):
        advice = 'set tls = "starttls" or "tls"'
        yield Finding("email", "warning", f"the password goes to {where} for all to read", advice)
    try:
        socket.create_connection((email.host, email.port), PATIENCE_S).close()
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        advice = "mail is tried again until it does; is email.host right?"
        yield Finding("email", "warning", f"{where} does not answer: {why}", advice)
    else:
        yield Finding("email", "ok", f"{where} answers")
