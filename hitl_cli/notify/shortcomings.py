"""What keeps people from being notified, as far as the settings show it: for workers and `hitl doctor`."""

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
"""Where a mail server expects TLS from the first byte (RFC 8314)."""

TLS_ADVICE = 'set tls = "tls" in [email], or port = 587'

NAMES = 10
"""The most names in one sentence."""


class Shortcoming(Struct, frozen=True):
    """What is wrong, under a setting's name, and what to do."""

    name: str
    text: str
    advice: str

    def __str__(self) -> str:
        return f"{self.text}. {self.advice[0].upper()}{self.advice[1:]}"


def shortcomings(directory: Directory) -> Iterator[Shortcoming]:
    """Yield what is wrong with the settings by which people are reached. Nothing is sent."""
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
            yield Shortcoming(
                "people", f"{key}.{address.kind} cannot be used: {why}", "correct it in hitl.toml"
            )


def of_gateway(directory: Directory) -> Iterator[Shortcoming]:
    """Yield that the links in messages lead to this computer, if they do."""
    if urlsplit(directory.gateway).hostname in THIS_COMPUTER:
        yield Shortcoming(
            "gateway",
            f"the links in messages begin with {directory.gateway}, which opens on this computer only",
            'set gateway = "https://…" in hitl.toml to the address of hitl gateway',
        )


def of_members(directory: Directory, group: str | None = None) -> Iterator[Shortcoming]:
    """Yield which members of groups, or of one, have no contact."""
    for name, members in silent_members(directory).items():
        if group is not None and folded(name) != folded(bare_name(group)):
            continue
        more = f" and {len(members) - NAMES:,} more" if members[NAMES:] else ""
        yield Shortcoming(
            "people",
            f"no contact for {', '.join(members[:NAMES])}{more} of group {name}: nobody notifies them",
            f'write [people.{members[0]}] email = "…" into hitl.toml',
        )


def _of_email(email: EmailSettings | None) -> Iterator[Shortcoming]:
    """Yield what is wrong with how mail is sent."""
    if email is None:
        text = "people have addresses, and nothing says how to send"
        yield Shortcoming(
            "email", text, 'write [email] host = "…" into the settings (docs/guides/notifications.md)'
        )
    elif why := wrong_tls(email):
        yield Shortcoming("email", why, TLS_ADVICE)


def wrong_tls(email: EmailSettings) -> str | None:
    """Return why mail cannot be sent with this port and `tls`; None where it can."""
    if email.port != TLS_PORT or email.tls == "tls":
        return None
    return f'port {TLS_PORT} of a mail server takes TLS from the first byte, and tls is "{email.tls}"'


def _unusable(address: Address) -> str | None:
    """Return why nothing can be sent to an address; None where it may be possible."""
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
        return "it is no URL"
    return None
