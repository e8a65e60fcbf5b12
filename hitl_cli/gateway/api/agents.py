"""What an agent keeps beside its requests while people decide. Only the asker reads it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from hitl_cli.gateway.api.route import Call, Routes
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.deferrals import Deferral
from hitl_cli.views.agents import DeferralDocument, DeferralsDocument, StateDocument

routes = Routes()


class DeferralsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The machine whose sessions to list."""

    host: Annotated[str, Meta(min_length=1)] = ""


class TakeBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who resumes the session: the first `key` does. The same key again is the same caller."""

    key: Annotated[str, Meta(min_length=1, max_length=200)]


class StateBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The state to keep, in place of an earlier one."""

    state: str


@routes.post(
    "/requests/{id}/deferral",
    "Record that the session of a coding agent ended until a request of yours is decided.",
    needs=("ask",),
    status=201,
)
def _defer(call: Call[None, Deferral], inbox: Inbox) -> DeferralDocument:
    """Record that the session of a coding agent ended until a request of yours is decided."""
    inbox.defer(call.id, call.body)
    return DeferralDocument(request=call.id)


@routes.get("/deferrals", "List the sessions on a machine that wait for requests of yours.", needs=("ask",))
def _deferred(call: Call[DeferralsQuery, None], inbox: Inbox) -> DeferralsDocument:
    """Return the sessions on a machine that wait for requests of yours."""
    return DeferralsDocument(list(inbox.deferred(call.query.host)))


@routes.post(
    "/requests/{id}/deferral/take",
    "Take the session of a request of yours, to resume it. Only the first key takes it.",
    needs=("ask",),
)
def _take(call: Call[None, TakeBody], inbox: Inbox) -> DeferralDocument:
    """Say whether you are the one that resumes the session of a request of yours: the first is."""
    return DeferralDocument(request=call.id, taken=inbox.take_deferred(call.id, call.body.key))


@routes.post(
    "/agent-states/{id}",
    "Keep the state of an agent's run of yours, in place of an earlier one.",
    needs=("ask",),
    status=201,
)
def _keep(call: Call[None, StateBody], inbox: Inbox) -> StateDocument:
    """Keep the state of an agent's run of yours, in place of an earlier one."""
    inbox.keep_state(call.id, call.body.state)
    return StateDocument(run=call.id, state=call.body.state)


@routes.get("/agent-states/{id}", "Get the state of an agent's run of yours.", needs=("ask",))
def _kept(call: Call[None, None], inbox: Inbox) -> StateDocument:
    """Return the state of an agent's run of yours."""
    return StateDocument(run=call.id, state=inbox.kept_state(call.id))


@routes.delete("/agent-states/{id}", "End the state of an agent's run of yours.", needs=("ask",))
def _forget(call: Call[None, None], inbox: Inbox) -> StateDocument:
    """End the state of an agent's run of yours."""
    inbox.forget_state(call.id)
    return StateDocument(run=call.id, state=None)
