"""What is well and what is not with how people are reached, for `hitl doctor`. Nothing is sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hitl_cli.errors import BadInput
from hitl_cli.format.names import folded, skeleton
from hitl_cli.notify.messages import DeliveryFailed
from hitl_cli.notify.shortcomings import THIS_COMPUTER, shortcomings
from hitl_cli.views.doctor import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hitl_cli.people.contacts import Contact, Directory, EmailSettings
    from hitl_cli.settings import Settings

PATIENCE_S = 6.0
"""How long a mail server has to take a connection, a login and a sender."""

TRIED_AGAIN = "mail is tried again until it does; is email.host right?"


def examine_people(settings: Settings) -> list[Finding]:
    """Return what there is to say of the people, groups and channels in the settings."""
    try:
        directory = settings.directory()
    except BadInput as error:
        return [Finding("people", "warning", str(error), "set it where workers and gateways run")]
    kinds = {
        address.kind
        for one in (*directory.people.values(), *directory.groups.values())
        for address in one.addresses
    }
    wrong = [
        Finding(one.name, "warning", one.text, one.advice)
        for one in shortcomings(directory)
        if one.name != "email" or directory.email is None  # else the server itself is tried
    ]
    findings = [*_judge_people(directory), *_judge_email(directory.email), *wrong]
    if "webhook" in kinds and directory.webhooks.secret is None:
        advice = 'set [webhooks] secret = "$NAME" (docs/guides/notifications.md)'
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


def _judge_email(email: EmailSettings | None) -> Iterator[Finding]:
    """Judge whether the server takes mail from the sender. Nothing is sent."""
    if email is None:
        return
    from hitl_cli.notify.channels.email import try_sender

    where = f"{email.host}:{email.port}"
    if email.tls == "none" and email.password is not None and email.host not in THIS_COMPUTER:
        advice = 'set tls = "starttls" or "tls"'
        yield Finding("email", "warning", f"the password goes to {where} for all to read", advice)
    try:
        asyncio.run(asyncio.wait_for(try_sender(email), PATIENCE_S))
    except DeliveryFailed as error:
        advice = "correct [email], or ask who runs the server" if error.for_good else TRIED_AGAIN
        yield Finding("email", "warning", str(error).rstrip("."), advice)
    except TimeoutError:
        text = f"{where} did not answer within {PATIENCE_S:.0f} s"
        first = "" if email.tls == "tls" else ' If it takes TLS from the first byte: tls = "tls"'
        yield Finding("email", "warning", text, TRIED_AGAIN + first)
    else:
        yield Finding("email", "ok", f"{where} answers, and takes mail from {email.from_}")
