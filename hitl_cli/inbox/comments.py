"""Comments on a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.client.records import store, under
from hitl_cli.client.tags import COMMENT_TAG
from hitl_cli.client.wire import Audit, audit_in, child_id, decode, fresh_id, headers_of, said_at
from hitl_cli.errors import BadAnswer
from hitl_cli.people.idempotency import IdempotencyKeyReused
from hitl_cli.requests.decision_input import check_comment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from hitl_cli.people.actor import Actor
    from hitl_cli.people.idempotency import IdempotencyMark


class Comment(Struct, frozen=True, kw_only=True):
    """A comment. `at` is ms since the epoch."""

    by: str | None
    via: str | None
    at: int
    text: str


def check_text(text: str, what: str = "comment") -> None:
    """Raise BadInput for a comment that is empty or too long."""
    if not text.strip():
        raise BadAnswer(f"the {what} is empty.")
    check_comment(text, what)


def add_comment(
    client: Client, actor: Actor, request: Promise, text: str, mark: IdempotencyMark | None
) -> None:
    """Store a comment on a request, open or decided. Comments with the same mark are stored once.

    Raises IdempotencyKeyReused if another comment has the mark's key.
    """
    own = fresh_id() if mark is None else mark.key
    audit = Audit(id=own, by=actor.person, via=actor.via, at=client.now())
    create = under(request, child_id(request.id, f"c{own}"), COMMENT_TAG, {"comment": text}, audit)
    kept = comment_in(store(client, create))
    if kept is None or kept.text != text:
        raise IdempotencyKeyReused


def comments_in(promises: Iterable[Promise]) -> list[Comment]:
    """Return the comments in promises, oldest first."""
    found = [said for promise in promises if (said := comment_in(promise)) is not None]
    return sorted(found, key=lambda comment: comment.at)


def comment_in(promise: Promise) -> Comment | None:
    """Return the comment in a promise; None if it is not a valid one."""
    audit = audit_in(headers_of(promise.param))
    said = decode(promise.param)
    if not isinstance(said, dict) or not isinstance(text := said.get("comment"), str):
        return None
    return Comment(by=audit.by, via=audit.via, at=said_at(promise, audit), text=text)
