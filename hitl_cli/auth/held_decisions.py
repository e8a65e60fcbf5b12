"""Whether a held decision may still be made: its token, link or sign-in must still be valid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.auth.ended import ends, is_ended, person_subject
from hitl_cli.auth.links import Link, is_revoked
from hitl_cli.people.actor import Credential

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.held import Held
    from hitl_cli.people.groups import Groups


def why_ended(client: Client, held: Held, groups: Groups) -> str | None:
    """Return why a held decision must not be made any more; None if it may.

    Signing out of hitl does not count: the person decided before.
    """
    credential = held.credential or Credential(made_at=held.since)
    known, person = ends(client), person_subject(held.by, groups)
    if is_ended(known, [person], credential.made_at):
        return f"{held.by} was removed before it was recorded."
    if is_ended(known, credential.subjects, credential.made_at):
        return f"the sign-in of {held.by} was ended before it was recorded."
    if credential.link is not None and is_revoked(client, _link(held, credential), groups):
        return "its link was revoked before it was recorded."
    return None


def _link(held: Held, credential: Credential) -> Link:
    """Return the link with which a decision was made, with the fields that a revocation compares."""
    return Link(
        request=held.request,
        person=held.by,
        made_at=credential.made_at,
        ends_at=credential.made_at,
        id=credential.link or "",
    )
