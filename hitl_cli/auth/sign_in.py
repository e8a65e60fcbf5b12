"""Signing in by a link that is sent to one's address: signed, good for some minutes, and once.

That it was used is kept on the server, so that every gateway knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.auth import signed_token
from hitl_cli.auth.links import LinkExpired, LinkInvalid, fresh_link_id
from hitl_cli.auth.signed_token import TokenFields
from hitl_cli.client.protocol import ProtocolRequest, as_promise, get_promise
from hitl_cli.client.records import closing
from hitl_cli.client.tags import lineage
from hitl_cli.client.wire import encode, fresh_id, headers_of
from hitl_cli.people.contacts import Address

if TYPE_CHECKING:
    from hitl_cli.auth.signing_keys import Keys
    from hitl_cli.client.protocol import Client
    from hitl_cli.people.contacts import Directory

SALT = "hitl.sign-in"
PATH = "/sign-in/"

LIFE_MS = 15 * 60_000
"""How long such a link is good: long enough for a mail to come, short for whoever finds it later."""

_USED = "this link was used already. Have a new one sent."


class SignInLink(TokenFields, frozen=True, kw_only=True):
    """Who signs in by it, until when (ms since the epoch), its own id, and the path that was wanted first."""

    person: str
    ends_at: int
    id: str
    wanted: str


def person_known(directory: Directory, text: str) -> tuple[str, Address] | None:
    """Return the person who has a name or an e-mail address, and where they get mail; None if nobody does."""
    name = directory.members.name(text)
    person = name if name in directory.people else directory.person_at(name) if name else None
    email = directory.people[person].email if person is not None else None
    return None if person is None or email is None else (person, Address("email", email))


def link_for(person: str, now: int, wanted: str) -> SignInLink:
    """Return a link by which a person signs in."""
    return SignInLink(person=person, ends_at=now + LIFE_MS, id=fresh_link_id(), wanted=wanted)


def sign(link: SignInLink, keys: Keys) -> str:
    """Return the link as the text that stands in its URL."""
    return signed_token.sign(link, SALT, keys)


def read(token: str, keys: Keys, now: int) -> SignInLink:
    """Return what a signed link says. Raises LinkInvalid, LinkExpired (by its time alone)."""
    link = signed_token.read(token, SignInLink, SALT, keys)
    if link is None:
        raise LinkInvalid("this link is not a good one: it was changed, or cut short.")
    if now >= link.ends_at:
        raise LinkExpired("this link has ended. Have a new one sent.")
    return link


def use(client: Client, link: SignInLink) -> None:
    """Use a link. Of all who try exactly one does; the others see LinkExpired."""
    mark = fresh_id()
    own = _promise_id(link)
    create = ProtocolRequest(
        "promise.create",
        {
            "id": own,
            "timeoutAt": link.ends_at,
            "param": encode(None, {"hitl:start": mark, "hitl:by": link.person}),
            "tags": lineage(own, scope="local"),
        },
    )
    kept = as_promise(client.call_many([create, closing(create)])[0])
    if headers_of(kept.param).get("hitl:start") != mark:
        raise LinkExpired(_USED)


def check_unused(client: Client, link: SignInLink) -> None:
    """Raise LinkExpired if a link was used. Changes nothing."""
    if get_promise(client, _promise_id(link)) is not None:
        raise LinkExpired(_USED)


def _promise_id(link: SignInLink) -> str:
    return f"hitl-sign-in-{link.id}"
