"""A request after an amendment as JSON: new assignees, a claim, or a later deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.format.times import iso
from hitl_cli.views.document import document_of

if TYPE_CHECKING:
    from hitl_cli.inbox.amend import Amended
    from hitl_cli.inbox.request_summary import RequestSummary


class AmendedDocument(Struct, frozen=True, kw_only=True):
    """A request after a change; `changed` is false if it was so before. Without `to`, anyone may answer."""

    id: str
    changed: bool
    to: tuple[str, ...]
    claimed_by: str | None
    claimed_until: str | None
    deadline: str


def amended_document(done: Amended) -> AmendedDocument:
    """Return a request after a change."""
    claim = claim_fields(done.item)
    return document_of(AmendedDocument, done.item, changed=done.amendment is not None, **claim)


def claim_fields(item: RequestSummary) -> dict[str, str | None]:
    """Return the person who has claimed a request, and the end of the claim."""
    claim = item.claim
    until = None if claim is None or claim.until is None else iso(claim.until)
    return {"claimed_by": None if claim is None else claim.by, "claimed_until": until}
