"""Sign-in links by e-mail: signed, valid for some minutes, and only once.

Used links are recorded on the server, so that every gateway rejects them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.auth import signed_token
from hitl_cli.auth.ended import ends, is_ended, person_subject
from hitl_cli.auth.links import LinkExpired, LinkInvalid, fresh_link_id
from hitl_cli.auth.signed_token import TokenFields
from hitl_cli.client.protocol import get_promise
from hitl_cli.client.records import alone, store
from hitl_cli.client.wire import fresh_id, headers_of
from hitl_cli.people.contacts import Address
from hitl_cli.people.groups import NO_GROUPS

if TYPE_CHECKING:
    from hitl_cli.auth.signing_keys import Keys
    from hitl_cli.client.protocol import Client
    from hitl_cli.people.contacts import Directory

SALT = "hitl.sign-in"
PATH = "/sign-in/"

LIFE_MS = 15 * 60_000
"""Validity of a sign-in link: long enough for a mail to arrive, short in case someone finds it later."""

PREFIX = "hitl-sign-in-"
"""Prefix of the ids of the promises that record what was used."""

_USED = "this link was already used. Request a new one."


class SignInLink(TokenFields, frozen=True, kw_only=True):
    """The content of a sign-in link: person, expiry (ms since the epoch), id, and the path to go to."""

    person: str
    ends_at: int
    id: str
    wanted: str


def person_known(directory: Directory, text: str) -> tuple[str, Address] | None:
    """Return the person with a name or e-mail address, and their mail address; None if there is none."""
    name = directory.members.name(text)
    person = name if name in directory.people else directory.person_at(name) if name else None
    email = directory.people[person].email if person is not None else None
    return None if person is None or email is None else (person, Address("email", email))


def link_for(person: str, now: int, wanted: str) -> SignInLink:
    """Return a sign-in link for a person."""
    return SignInLink(person=person, ends_at=now + LIFE_MS, id=fresh_link_id(), wanted=wanted)


def sign(link: SignInLink, keys: Keys) -> str:
    """Return the link as a signed token for its URL."""
    return signed_token.sign(link, SALT, keys)


def read(token: str, keys: Keys, now: int) -> SignInLink:
    """Return the content of a signed link. Raises LinkInvalid, LinkExpired.

    Does not check whether it was used.
    """
    link = signed_token.read(token, SignInLink, SALT, keys)
    if link is None:
        raise LinkInvalid("this link is not valid: it was changed, or is incomplete.")
    if now >= link.ends_at:
        raise LinkExpired("this link has expired. Request a new one.")
    return link


def use(client: Client, link: SignInLink) -> None:
    """Use a link. It works exactly once; later attempts raise LinkExpired.

    So do attempts after `hitl people remove` has removed the person.
    """
    if is_ended(ends(client), [person_subject(link.person, NO_GROUPS)], link.ends_at - LIFE_MS):
        raise LinkExpired("this link was revoked. Request a new one.")
    if not use_once(client, link.id, link.ends_at, link.person):
        raise LinkExpired(_USED)


def use_once(client: Client, id: str, ends_at: int, by: str) -> bool:
    """Use up an id that is valid until `ends_at`. Returns whether this call was the first to do so."""
    mark = fresh_id()
    create = alone(PREFIX + id, None, {"hitl:start": mark, "hitl:by": by}, until=ends_at)
    kept = store(client, create)
    return headers_of(kept.param).get("hitl:start") == mark


def check_unused(client: Client, link: SignInLink) -> None:
    """Raise LinkExpired if a link was used. Changes nothing."""
    if get_promise(client, PREFIX + link.id) is not None:
        raise LinkExpired(_USED)
