"""Sessions of a coding agent that ended to wait for a decision. `hitl hook resume` resumes them.

A deferral is a promise under its request, created by the asker, which is the agent's hook. The process that
resumes the session settles the promise before it starts the agent, so a session is resumed once, even if
processes are restarted. Because a program is started in the folder that the deferral names, only the asker's
own sessions are resumed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from hitl_cli.client.protocol import ProtocolRequest, get_promises, search, send
from hitl_cli.client.records import settle
from hitl_cli.client.tags import lineage
from hitl_cli.client.wire import audit_of, child_id, decode_as, encode, headers_of
from hitl_cli.errors import BadInput, NotAllowed, NotFound
from hitl_cli.format.durations import UNITS_MS
from hitl_cli.requests.question import Outcome, asker_of, outcome_of

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.people.actor import Actor

DEFERRED_TAG = "hitl:deferred"

KEPT_MS = 30 * UNITS_MS["d"]
"""How long after the deadline of its request a session can be resumed: agents delete it then."""

SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}")

LONGEST = 4_096
"""Characters of a folder, and of the name of a machine."""


class Deferral(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A session to resume in its folder on the machine `host`, once its process has ended."""

    session: str
    cwd: str
    host: str
    pid: int


class DeferredSession(Struct, frozen=True, kw_only=True):
    """A session that waits for a request, with the outcome; None while the request is open."""

    request: str
    session: str
    cwd: str
    host: str
    pid: int
    outcome: Outcome | None = None
    by: str | None = None


class _Stored(Deferral, frozen=True, kw_only=True, forbid_unknown_fields=True):
    request: str


def defer(client: Client, actor: Actor, item: RequestSummary, said: Deferral) -> None:
    """Record that a session ended to wait for a request of the actor. Raises BadInput, NotAllowed."""
    if SESSION.fullmatch(said.session) is None:
        raise BadInput("the id of the session must consist of letters, digits and -.", code="bad-name")
    if not said.cwd or max(len(said.cwd), len(said.host)) > LONGEST or not 0 < said.pid < 2**31:
        raise BadInput("the deferral has no folder, or one of its values is too long.", code="bad-name")
    if not _is_own(actor, item.promise):
        raise NotAllowed(
            f"{item.id} was asked by somebody else: only they can defer a session for it.", code="not-asker"
        )
    own = child_id(item.id, "deferred")
    data = {
        "id": own,
        "timeoutAt": item.promise.timeout_at + KEPT_MS,
        "param": encode(msgspec.structs.asdict(said) | {"request": item.id}),
        "tags": {DEFERRED_TAG: "1"} | lineage(own, scope="local", origin=item.id, parent=item.id),
    }
    send(client, ProtocolRequest("promise.create", data))


def deferred(client: Client, actor: Actor, host: str) -> list[DeferredSession]:
    """Return the sessions on a machine that wait for requests of the actor, the oldest first."""
    found = [
        (promise, said)
        for promise in search(client, state="pending", tags={DEFERRED_TAG: "1"})
        if (said := _said_in(promise)) is not None and said.host == host
    ]
    requests = get_promises(client, [said.request for _, said in found])
    return [
        DeferredSession(**msgspec.structs.asdict(said), outcome=outcome_of(request), by=audit_of(request).by)
        for _, said in found
        if (request := requests.get(said.request)) is not None and _is_own(actor, request)
    ]


def take(client: Client, actor: Actor, item: RequestSummary, key: str) -> bool:
    """Claim to resume the session of a request, and return whether this caller was first. Raises NotFound.

    The same key again is the same caller.
    """
    own = child_id(item.id, "deferred")
    promise = get_promises(client, [own]).get(own)
    if promise is None or _said_in(promise) is None or not _is_own(actor, item.promise):
        raise NotFound(f"no session waits for {item.id}.")
    value = encode(None, {"hitl:id": key, "hitl:by": actor.person, "hitl:via": actor.via})
    return headers_of(settle(client, own, "resolved", value).value).get("hitl:id") == key


def _is_own(actor: Actor, request: Promise) -> bool:
    """Whether an actor has asked a request, and no run did."""
    return request.is_blocking and actor.groups.same(actor.person, asker_of(request, None))


def _said_in(promise: Promise) -> _Stored | None:
    """Return the deferral in a promise; None if it is not a valid one."""
    said = decode_as(promise.param, _Stored)
    if said is None or promise.is_call or promise.is_blocking or SESSION.fullmatch(said.session) is None:
        return None
    return said if promise.id == child_id(said.request, "deferred") else None
