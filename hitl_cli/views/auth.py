"""API tokens, links and signing keys as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.format.times import iso
from hitl_cli.people.actor import PERMISSIONS, Permission
from hitl_cli.views.document import document_of

if TYPE_CHECKING:
    from hitl_cli.auth.links import Link
    from hitl_cli.auth.signing_keys import Key
    from hitl_cli.auth.tokens import Token
    from hitl_cli.client.wire import Json
    from hitl_cli.people.actor import Actor


def permissions_of(one: Token) -> list[Permission]:
    """Return the permissions of a token, in the usual order."""
    return [permission for permission in PERMISSIONS if permission in one.can]


def token_document(one: Token) -> dict[str, Json]:
    """Return a token without its secret. `as` is the person that it acts as, `by` who created it."""
    return {
        "id": one.id,
        "as": one.person,
        "can": permissions_of(one),
        "state": one.state,
        "created_at": iso(one.created_at),
        "expires_at": iso(one.expires_at),
        "by": one.by,
        "name": one.name,
    }


class MeDocument(Struct, frozen=True, kw_only=True, rename={"person": "as"}):
    """The sender of an HTTP request: the person, their permissions, and the token."""

    person: str
    can: list[Permission]
    token: str | None
    expires_at: str | None


def me_document(actor: Actor, token: Token | None) -> MeDocument:
    """Return an actor as the sender of an HTTP request."""
    return MeDocument(
        person=actor.person,
        can=[permission for permission in PERMISSIONS if permission in actor.may],
        token=None if token is None else token.id,
        expires_at=None if token is None else iso(token.expires_at),
    )


class DeviceDocument(Struct, frozen=True, kw_only=True):
    """A login by a typed code: the terminal's secret, the code, the page to type it on, and times in s."""

    device_code: str
    user_code: str
    url: str
    expires_s: int
    every_s: float


class LoginDocument(Struct, frozen=True, kw_only=True, rename={"person": "as"}):
    """The token of a terminal; all fields are null until a person has allowed it."""

    token: str | None = None
    id: str | None = None
    person: str | None = None
    can: list[Permission] = []
    expires_at: str | None = None


def login_document(made: Token, text: str) -> LoginDocument:
    """Return the token of a terminal, with its secret."""
    return document_of(LoginDocument, made, token=text, can=permissions_of(made))


class LinkDocument(Struct, frozen=True, kw_only=True):
    """A link for one person to answer one request."""

    url: str
    request: str
    person: str
    ends_at: str
    id: str


def link_document(link: Link, url: str) -> LinkDocument:
    """Return a link for one person to answer one request."""
    return document_of(LinkDocument, link, url=url)


def key_document(key: Key) -> Json:
    """Return a signing key without its secret; `believed_until` is null for the key that signs now."""
    until = None if key.ends_at is None else iso(key.ends_at)
    return {"key": key.name, "created_at": iso(key.created_at), "believed_until": until}
