"""Checks of contacts and channels for `hitl doctor`. Nothing is sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hitl_cli.admin.sign_in_checks import judge_oidc
from hitl_cli.errors import BadInput
from hitl_cli.format.names import folded, skeleton
from hitl_cli.notify.messages import DeliveryFailed
from hitl_cli.notify.shortcomings import THIS_COMPUTER, shortcomings
from hitl_cli.people.callbacks import host_in
from hitl_cli.views.doctor import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hitl_cli.people.callbacks import CallbackSettings
    from hitl_cli.people.contacts import Contact, Directory, EmailSettings
    from hitl_cli.settings import Settings

PATIENCE_S = 6.0
"""How long a mail server may take to accept a connection, a login and a sender."""

TRIED_AGAIN = "mail is retried until it does; is email.host right?"


def examine_people(settings: Settings) -> list[Finding]:
    """Return the findings on the people, groups and channels in the settings."""
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
        if one.name != "email" or directory.email is None  # otherwise the mail server itself is tried
    ]
    findings = [*_judge_people(directory), *_judge_email(directory.email), *wrong]
    findings += [*_judge_callbacks(directory.callbacks), *judge_oidc(directory.oidc)]
    if "webhook" in kinds and directory.webhooks.secret is None:
        advice = 'set [webhooks] secret = "$NAME" (docs/guides/webhooks.md)'
        unsigned = "webhooks are unsigned, so anyone could forge them"
        findings.append(Finding("webhooks", "warning", unsigned, advice))
    return findings


def _judge_people(directory: Directory) -> Iterator[Finding]:
    """Check whether the people and groups can be reached."""
    if not directory.people and not directory.groups:
        return
    counts = f"people: {len(directory.people):,}, groups: {len(directory.groups):,}"
    yield Finding("people", "ok", f"in the settings: {counts}")
    members = (directory.members.name(name) for group in directory.groups.values() for name in group.members)
    yield from _judge_names([*directory.people, *members])
    yield from _judge_names(directory.groups)
    yield from _judge_addresses(directory.people)
    silent = [name for name, contact in directory.people.items() if not contact.addresses]
    if silent:
        yield Finding("people", "ok", f"no contact for {', '.join(silent)}, so they are not notified")


def _judge_names(names: Iterable[str]) -> Iterator[Finding]:
    """Check for names that are easily mistaken for each other."""
    shown: dict[str, str] = {}
    for name in names:
        other = shown.setdefault(skeleton(name), name)
        if other != name:
            text = f"{other} and {name} look alike but differ ({other!a}, {name!a})"
            yield Finding("people", "warning", text, "rename one of them, unless both are intended")


def _judge_addresses(people: Mapping[str, Contact]) -> Iterator[Finding]:
    """Check for e-mail addresses that several people share."""
    every = [folded(contact.email) for contact in people.values() if contact.email]
    for address in sorted({address for address in every if every.count(address) > 1}):
        text = f"several people have the address {address}, so it identifies none of them"
        yield Finding("people", "warning", text, "give each person an address, or make a group with this one")


def _judge_callbacks(callbacks: CallbackSettings) -> Iterator[Finding]:
    """Check whether the hosts of callbacks can be posted to, as far as their addresses tell."""
    if not callbacks.names_hosts:
        return
    from hitl_cli.notify.channels.outside import is_outside

    allowed = ", ".join((*callbacks.hosts, *(f"{one} (internal)" for one in callbacks.internal)))
    yield Finding("callbacks", "ok", f"decisions may be posted, signed, to {allowed}")
    for one in dict.fromkeys((*callbacks.hosts, *callbacks.internal)):
        host = host_in(one)
        if host.startswith("*."):
            continue
        addresses = _addresses_of(host)
        if not addresses:
            advice = "correct callbacks.hosts or callbacks.internal, or the DNS of where workers run"
            yield Finding("callbacks", "warning", f"{host} has no address here", advice)
        elif one not in callbacks.internal and not any(map(is_outside, addresses)):
            text = f"{host} has only internal addresses here, so nothing is posted to it"
            yield Finding(
                "callbacks", "warning", text, f"if it may be internal: callbacks.internal = [{one!r}]"
            )


def _addresses_of(host: str) -> list[str]:
    """Return the IP addresses of a host; none if it has none, or the look-up takes too long."""

    async def look() -> list[str]:
        loop = asyncio.get_running_loop()
        found = await asyncio.wait_for(loop.getaddrinfo(host.strip("[]"), None), PATIENCE_S)
        return [str(one[4][0]) for one in found]

    try:
        return asyncio.run(look())
    except (OSError, UnicodeError, TimeoutError):
        return []


def _judge_email(email: EmailSettings | None) -> Iterator[Finding]:
    """Check whether the mail server accepts the sender. Nothing is sent."""
    if email is None:
        return
    from hitl_cli.notify.channels.email import try_sender

    where = f"{email.host}:{email.port}"
    if email.tls == "none" and email.password is not None and email.host not in THIS_COMPUTER:
        advice = 'set tls = "starttls" or "tls"'
        yield Finding("email", "warning", f"the password is sent to {where} unencrypted", advice)
    try:
        asyncio.run(asyncio.wait_for(try_sender(email), PATIENCE_S))
    except DeliveryFailed as error:
        advice = "correct [email], or ask the server's administrator" if error.for_good else TRIED_AGAIN
        yield Finding("email", "warning", str(error).rstrip("."), advice)
    except TimeoutError:
        text = f"{where} did not answer within {PATIENCE_S:.0f} s"
        first = "" if email.tls == "tls" else ' If the server expects TLS from the start: tls = "tls"'
        yield Finding("email", "warning", text, TRIED_AGAIN + first)
    else:
        yield Finding("email", "ok", f"{where} answers, and accepts mail from {email.from_}")
