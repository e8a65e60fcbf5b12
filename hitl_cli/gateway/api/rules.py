"""Standing rules: list, add, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.client.wire import Json
from hitl_cli.format.durations import parse_duration
from hitl_cli.gateway.api.route import Call, Route
from hitl_cli.gateway.error_responses import json_answer
from hitl_cli.rules.rule import NewRule
from hitl_cli.rules.rules import Rules, where_of
from hitl_cli.views.rules import RuleDocument, RulesDocument, rule_document

if TYPE_CHECKING:
    from aiohttp import web

    from hitl_cli.inbox import Inbox


class RulesQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rules to list: those that are valid now, or all."""

    all: bool = False


class RuleBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"for_": "for"}):
    """A rule: what it matches, and for how long (at most 30d). With `deny`, it rejects, with a `reason`.

    `match` is a pattern for the command, file or URL of the `tool`; `where` has other arguments by path.
    """

    for_: str
    tool: str | None = None
    match: str | None = None
    where: dict[str, Json] = {}
    deny: bool = False
    reason: str | None = None
    asker: str | None = None
    workflow: str | None = None


async def _list_rules(call: Call) -> web.Response:
    """Return rules of everyone."""

    def look(inbox: Inbox) -> RulesDocument:
        found = Rules(inbox.client, inbox.actor).list(every=call.query.all)
        return RulesDocument([rule_document(rule) for rule in found])

    return json_answer(await call.inbox(look))


async def _add(call: Call) -> web.Response:
    """Add a rule of the token's person."""
    body: RuleBody = call.body
    life_ms = parse_duration(body.for_)
    rule = NewRule(
        verdict="reject" if body.deny else "approve",
        where=where_of(body.tool, body.match, body.where),
        asker=body.asker,
        workflow=body.workflow,
        reason=body.reason,
    )
    made = await call.inbox(lambda inbox: Rules(inbox.client, inbox.actor).add(rule, life_ms=life_ms))
    return json_answer(rule_document(made), 201)


async def _remove(call: Call) -> web.Response:
    """Remove a rule of the token's person. One that has ended stays as it is."""
    rule, _ = await call.inbox(lambda inbox: Rules(inbox.client, inbox.actor).remove(call.id))
    return json_answer(rule_document(rule))


TABLE = [
    Route(
        method="GET",
        path="/api/v1/rules",
        handle=_list_rules,
        needs=("read",),
        summary="List standing rules.",
        query=RulesQuery,
        answers={200: RulesDocument},
    ),
    Route(
        method="POST",
        path="/api/v1/rules",
        handle=_add,
        needs=("decide",),
        summary="Add a standing rule, which answers requests for you.",
        body=RuleBody,
        answers={201: RuleDocument},
    ),
    Route(
        method="DELETE",
        path="/api/v1/rules/{id}",
        handle=_remove,
        needs=("decide",),
        summary="Remove a standing rule of yours. What it has decided stays decided.",
        answers={200: RuleDocument},
    ),
]
