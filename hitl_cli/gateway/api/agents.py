"""What an agent keeps beside its requests while people decide. Only the asker reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from hitl_cli.gateway.api.route import Call, Route
from hitl_cli.gateway.error_responses import json_answer
from hitl_cli.inbox.deferrals import Deferral
from hitl_cli.views.agents import DeferralDocument, DeferralsDocument, StateDocument

if TYPE_CHECKING:
    from aiohttp import web


class DeferralsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The machine whose sessions to list."""

    host: Annotated[str, Meta(min_length=1)] = ""


class TakeBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who resumes the session: the first `key` does. The same key again is the same caller."""

    key: Annotated[str, Meta(min_length=1, max_length=200)]


class StateBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The state to keep, in place of an earlier one."""

    state: str


async def _defer(call: Call) -> web.Response:
    """Record that the session of a coding agent ended until a request of yours is decided."""
    await call.inbox(lambda inbox: inbox.defer(call.id, call.body))
    return json_answer(DeferralDocument(request=call.id), 201)


async def _deferred(call: Call) -> web.Response:
    """Return the sessions on a machine that wait for requests of yours."""
    found = await call.inbox(lambda inbox: inbox.deferred(call.query.host))
    return json_answer(DeferralsDocument(list(found)))


async def _take(call: Call) -> web.Response:
    """Say whether you are the one that resumes the session of a request of yours: the first is."""
    taken = await call.inbox(lambda inbox: inbox.take_deferred(call.id, call.body.key))
    return json_answer(DeferralDocument(request=call.id, taken=taken))


async def _keep(call: Call) -> web.Response:
    """Keep the state of an agent's run of yours, in place of an earlier one."""
    await call.inbox(lambda inbox: inbox.keep_state(call.id, call.body.state))
    return json_answer(StateDocument(run=call.id, state=call.body.state), 201)


async def _kept(call: Call) -> web.Response:
    """Return the state of an agent's run of yours."""
    found = await call.inbox(lambda inbox: inbox.kept_state(call.id))
    return json_answer(StateDocument(run=call.id, state=found))


async def _forget(call: Call) -> web.Response:
    """End the state of an agent's run of yours."""
    await call.inbox(lambda inbox: inbox.forget_state(call.id))
    return json_answer(StateDocument(run=call.id, state=None))


TABLE = [
    Route(
        method="POST",
        path="/api/v1/requests/{id}/deferral",
        handle=_defer,
        needs=("ask",),
        summary="Record that the session of a coding agent ended until a request of yours is decided.",
        body=Deferral,
        answers={201: DeferralDocument},
    ),
    Route(
        method="POST",
        path="/api/v1/requests/{id}/deferral/take",
        handle=_take,
        needs=("ask",),
        summary="Take the session of a request of yours, to resume it. Only the first key takes it.",
        body=TakeBody,
        answers={200: DeferralDocument},
    ),
    Route(
        method="GET",
        path="/api/v1/deferrals",
        handle=_deferred,
        needs=("ask",),
        summary="List the sessions on a machine that wait for requests of yours.",
        query=DeferralsQuery,
        answers={200: DeferralsDocument},
    ),
    Route(
        method="POST",
        path="/api/v1/agent-states/{id}",
        handle=_keep,
        needs=("ask",),
        summary="Keep the state of an agent's run of yours, in place of an earlier one.",
        body=StateBody,
        answers={201: StateDocument},
    ),
    Route(
        method="GET",
        path="/api/v1/agent-states/{id}",
        handle=_kept,
        needs=("ask",),
        summary="Get the state of an agent's run of yours.",
        answers={200: StateDocument},
    ),
    Route(
        method="DELETE",
        path="/api/v1/agent-states/{id}",
        handle=_forget,
        needs=("ask",),
        summary="End the state of an agent's run of yours.",
        answers={200: StateDocument},
    ),
]
