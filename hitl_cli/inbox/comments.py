"""Remarks on a request that decide nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.client.protocol import as_promise, search
from hitl_cli.client.records import closing, under
from hitl_cli.client.tags import COMMENT_TAG
from hitl_cli.client.wire import Audit, audit_in, child_id, decode, fresh_id, headers_of, said_at
from hitl_cli.errors import BadAnswer, TooLarge
from hitl_cli.inbox.resolve import find

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise

MAX_COMMENT_BYTES = 100_000


class Comment(Struct, frozen=True, kw_only=True):
    """A remark. `at` is ms since the epoch."""

    by: str | None
    via: str | None
    at: int
    text: str


def check_comment(text: str | None) -> str | None:
    """Return a remark if it can be kept. Raises BadInput."""
    if text is not None and len(text.encode(errors="surrogatepass")) > MAX_COMMENT_BYTES:
        raise TooLarge(f"the comment is too long: it may have {MAX_COMMENT_BYTES:,} bytes.")
    return text


def comment(
    client: Client, id: str, text: str, *, by: str, via: str, new_id: Callable[[], str] = fresh_id
) -> Promise:
    """Leave a remark on a request, decided or not, and return the request. Raises NotFound, BadInput."""
    if not text.strip():
        raise BadAnswer("the comment says nothing.")
    check_comment(text)
    request = find(client, id)
    own = new_id()
    audit = Audit(id=own, by=by, via=via, at=client.now())
    create = under(request, child_id(request.id, f"c{own}"), COMMENT_TAG, {"comment": text}, audit)
    as_promise(client.call_many([create, closing(create)])[0])
    return request


def comments_of(client: Client, id: str) -> list[Comment]:
    """Return the remarks on a request, the oldest first."""
    found = [c for promise in search(client, tags={COMMENT_TAG: id}) if (c := comment_in(promise))]
    return sorted(found, key=lambda comment: comment.at)


def comment_in(promise: Promise) -> Comment | None:
    """Return the remark that a promise is; None where it only looks like one."""
    audit = audit_in(headers_of(promise.param))
    said = decode(promise.param)
    if not isinstance(said, dict) or not isinstance(text := said.get("comment"), str):
        return None
    return Comment(by=audit.by, via=audit.via, at=said_at(promise, audit), text=text)
