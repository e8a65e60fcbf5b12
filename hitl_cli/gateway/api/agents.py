"""Sessions and states of agents, kept beside requests while people decide. Only the asker reads them."""

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
    """A claim to resume the session. The first `key` gets it; the same key again is the same caller."""

    key: Annotated[str, Meta(min_length=1, max_length=200)]


class StateBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The state to keep, in place of an earlier one."""

    state: str


@routes.post(
    "/requests/{id}/deferral",
    "Record that a coding agent's session has ended, to be resumed once a request of yours is decided.",
    needs=("ask",),
    status=201,
)
def _defer(call: Call[None, Deferral], inbox: Inbox) -> DeferralDocument:
    """Record that a coding agent's session has ended, to be resumed once a request of yours is decided."""
    inbox.defer(call.id, call.body)
    return DeferralDocument(request=call.id)


@routes.get("/deferrals", "List the sessions on a machine that wait for requests of yours.", needs=("ask",))
def _deferred(call: Call[DeferralsQuery, None], inbox: Inbox) -> DeferralsDocument:
    """Return the sessions on a machine that wait for requests of yours."""
    return DeferralsDocument(list(inbox.deferred(call.query.host)))


@routes.post(
    "/requests/{id}/deferral/take",
    "Claim to resume the session of a request of yours. Only the first key gets it.",
    needs=("ask",),
)
def _take(call: Call[None, TakeBody], inbox: Inbox) -> DeferralDocument:
    """Claim to resume the session of a request of yours. The response says whether you were the first."""
    return DeferralDocument(request=call.id, taken=inbox.take_deferred(call.id, call.body.key))


@routes.post(
    "/agent-states/{id}",
    "Store the state of an agent's run of yours, in place of an earlier one.",
    needs=("ask",),
    status=201,
)
def _keep(call: Call[None, StateBody], inbox: Inbox) -> StateDocument:
    """Store the state of an agent's run of yours, in place of an earlier one."""
    inbox.keep_state(call.id, call.body.state)
    return StateDocument(run=call.id, state=call.body.state)


@routes.get("/agent-states/{id}", "Get the state of an agent's run of yours.", needs=("ask",))
def _kept(call: Call[None, None], inbox: Inbox) -> StateDocument:
    """Return the state of an agent's run of yours."""
    return StateDocument(run=call.id, state=inbox.kept_state(call.id))


@routes.delete("/agent-states/{id}", "Delete the state of an agent's run of yours.", needs=("ask",))
def _forget(call: Call[None, None], inbox: Inbox) -> StateDocument:
    """Delete the state of an agent's run of yours."""
    inbox.forget_state(call.id)
    return StateDocument(run=call.id, state=None)
