"""Ends existing sessions and links: those of a person, or of a sign-in at a provider.

An end is a promise on the server, so that all gateways know it. It stays pending for as long as anything that
it ends could be valid. Sessions and links that are made later are valid: the settings say who may sign in
again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.client.protocol import search, send
from hitl_cli.client.records import alone
from hitl_cli.client.wire import Audit, decode_as, fresh_id
from hitl_cli.format.stable_ids import stable_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hitl_cli.client.protocol import Client
    from hitl_cli.people.groups import Groups

ENDED_TAG = "hitl:ended"

PREFIX = "hitl-ended-"

type Ends = Mapping[str, int]
"""The instant of the last end of each subject, in ms since the epoch by the server's clock."""


class _End(Struct, frozen=True, kw_only=True):
    """The data of an end's promise: its subject."""

    subject: str


def person_subject(person: str, groups: Groups) -> str:
    """Return the subject of all sessions, tokens and links of a person."""
    return f"person:{groups.key(person)}"


def provider_subject(kind: str, issuer: str, id: str) -> str:
    """Return the subject of a session (`sid`) or an account (`sub`) at a provider."""
    return f"{kind}:{stable_id(f'{issuer}\0{id}', 32)}"


TOKEN_SUBJECT = "token:"  # noqa: S105 - no secret
"""Prefix of the subject of a token."""


def token_subject(id: str) -> str:
    """Return the subject of the sessions that began with a token."""
    return f"{TOKEN_SUBJECT}{id}"


def end(client: Client, subject: str, *, life_ms: int, by: str, via: str) -> None:
    """End everything made for a subject until now. None of it is valid for longer than `life_ms`."""
    now = client.now()
    headers = Audit(by=by, via=via, at=now).headers()
    create = alone(
        PREFIX + fresh_id(), {"subject": subject}, headers, until=now + life_ms, tags={ENDED_TAG: "1"}
    )
    send(client, create)


def ends(client: Client) -> Ends:
    """Return all ends that still matter."""
    found: dict[str, int] = {}
    for promise in search(client, state="pending", tags={ENDED_TAG: "1"}):
        said = decode_as(promise.param, _End)
        if said is not None and promise.id.startswith(PREFIX):
            found[said.subject] = max(found.get(said.subject, 0), promise.created_at)
    return found


def is_ended(known: Ends, subjects: Iterable[str], made_at: int) -> bool:
    """Whether something was ended that was made at `made_at` and has these subjects."""
    return any(made_at <= known.get(subject, -1) for subject in subjects)
