"""Standing rules: list, add, remove."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from hitl_cli.client.wire import Json
from hitl_cli.format.durations import parse_duration
from hitl_cli.gateway.api.route import Call, Routes
from hitl_cli.inbox import Inbox
from hitl_cli.rules.rule import NewRule
from hitl_cli.rules.rules import Rules, where_of
from hitl_cli.views.rules import RuleDocument, RulesDocument, rule_document

routes = Routes()


class RulesQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rules to list: those that are valid now, or all."""

    all: Annotated[bool, Meta(description="Also list rules that have ended.")] = False


class RuleBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"for_": "for"}):
    """A rule: what it matches, and for how long (at most 30d). With `deny`, it rejects, with a `reason`.

    `match` is a pattern for the command, file or URL of the `tool`; `where` has other arguments by path.
    """

    for_: Annotated[str, Meta(description="How long it is valid, a duration; at most 30d.")]
    tool: Annotated[str | None, Meta(description="The tool of an agent, such as Bash.")] = None
    match: Annotated[str | None, Meta(description="A pattern for the command, file or URL of the tool.")] = (
        None
    )
    where: Annotated[
        dict[str, Json], Meta(description="Patterns or values for other arguments, by path.")
    ] = {}
    deny: Annotated[bool, Meta(description="Reject matching requests instead of approving them.")] = False
    reason: Annotated[str | None, Meta(description="The reason of a rejection.")] = None
    asker: Annotated[str | None, Meta(description="Only requests of this person.")] = None
    workflow: Annotated[str | None, Meta(description="Only requests of this workflow.")] = None


@routes.get("/rules", "List standing rules.", needs=("read",))
def _list_rules(call: Call[RulesQuery, None], inbox: Inbox) -> RulesDocument:
    """Return standing rules, of all authors."""
    found = Rules(inbox.client, inbox.actor).list(every=call.query.all)
    return RulesDocument([rule_document(rule) for rule in found])


@routes.post("/rules", "Add a standing rule, which answers requests for you.", needs=("decide",), status=201)
def _add(call: Call[None, RuleBody], inbox: Inbox) -> RuleDocument:
    """Add a rule of the token's person."""
    body = call.body
    life_ms = parse_duration(body.for_)
    rule = NewRule(
        verdict="reject" if body.deny else "approve",
        where=where_of(body.tool, body.match, body.where),
        asker=body.asker,
        workflow=body.workflow,
        reason=body.reason,
    )
    return rule_document(Rules(inbox.client, inbox.actor).add(rule, life_ms=life_ms))


@routes.delete(
    "/rules/{id}", "Remove a standing rule of yours. Its earlier decisions stay.", needs=("decide",)
)
def _remove(call: Call[None, None], inbox: Inbox) -> RuleDocument:
    """Remove a rule of the token's person. One that has ended is not changed."""
    rule, _ = Rules(inbox.client, inbox.actor).remove(call.id)
    return rule_document(rule)
