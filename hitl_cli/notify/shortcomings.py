"""Problems in the settings that prevent notifications, for workers and `hitl doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct

from hitl_cli.errors import HitlError
from hitl_cli.format.names import folded
from hitl_cli.people.contacts import silent_members
from hitl_cli.people.groups import bare_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitl_cli.people.contacts import Address, Directory, EmailSettings

THIS_COMPUTER = ("127.0.0.1", "::1", "localhost")

TLS_PORT = 465
"""The port where a mail server expects TLS from the start (RFC 8314)."""

TLS_ADVICE = 'set tls = "tls" in [email], or port = 587'

NAMES = 10
"""Names in one sentence at most."""


class Shortcoming(Struct, frozen=True):
    """A problem with a setting, and what to do."""

    name: str
    text: str
    advice: str

    def __str__(self) -> str:
        return f"{self.text}. {self.advice[0].upper()}{self.advice[1:]}"


def shortcomings(directory: Directory) -> Iterator[Shortcoming]:
    """Yield the problems of the notification settings. Sends nothing."""
    everybody = {f"people.{name}": one for name, one in directory.people.items()}
    everybody |= {f"groups.{name}": one for name, one in directory.groups.items()}
    addresses = [(key, address) for key, one in everybody.items() for address in one.addresses]
    kinds = {address.kind for _, address in addresses}
    if kinds - {"console"}:
        yield from of_gateway(directory)
    if kinds:
        yield from of_members(directory)
    if "email" in kinds:
        yield from _of_email(directory.email)
    for key, address in addresses:
        if why := _unusable(address):
            yield Shortcoming("people", f"invalid {key}.{address.kind}: {why}", "correct it in hitl.toml")


def of_gateway(directory: Directory) -> Iterator[Shortcoming]:
    """Yield a problem if the links in messages point to this machine."""
    if urlsplit(directory.gateway).hostname in THIS_COMPUTER:
        yield Shortcoming(
            "gateway",
            f"links in notifications begin with {directory.gateway}, and so work only on this machine",
            'set gateway = "https://…" in hitl.toml to the public URL of hitl gateway',
        )


def of_members(directory: Directory, group: str | None = None) -> Iterator[Shortcoming]:
    """Yield a problem for each group, or for one, that has members without a contact."""
    for name, members in silent_members(directory).items():
        if group is not None and folded(name) != folded(bare_name(group)):
            continue
        more = f" and {len(members) - NAMES:,} more" if members[NAMES:] else ""
        yield Shortcoming(
            "people",
            f"no contact for {', '.join(members[:NAMES])}{more} of group {name}, so they are not notified",
            f'add [people.{members[0]}] email = "…" to hitl.toml',
        )


def _of_email(email: EmailSettings | None) -> Iterator[Shortcoming]:
    """Yield the problems of the mail settings."""
    if email is None:
        text = "there are e-mail addresses, but no mail server is set"
        yield Shortcoming("email", text, 'add [email] host = "…" to the settings (docs/guides/email.md)')
    elif why := wrong_tls(email):
        yield Shortcoming("email", why, TLS_ADVICE)


def wrong_tls(email: EmailSettings) -> str | None:
    """Return why this port does not work with this `tls`; None if it does."""
    if email.port != TLS_PORT or email.tls == "tls":
        return None
    return f'port {TLS_PORT} expects TLS from the start, but tls is "{email.tls}"'


def _unusable(address: Address) -> str | None:
    """Return why an address is invalid; None if it may be valid."""
    try:
        if address.kind in ("webhook", "slack"):
            from yarl import URL

            (URL(address.to).raw_host or "").encode("idna")
        if address.kind == "apprise":
            from hitl_cli.notify.channels.apprise import receiver_at

            receiver_at(address.to)
    except HitlError as error:
        return str(error).rstrip(".")
    except ValueError:
        return "it is not a valid URL"
    return None
