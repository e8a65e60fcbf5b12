"""`Rules`: the rules on a server, to add, list and remove."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hitl_cli.errors import BadInput, NotAllowed
from hitl_cli.format.durations import UNITS_MS, bad_duration
from hitl_cli.people.actor import check_person
from hitl_cli.people.groups import unknown_people
from hitl_cli.requests.decision_input import check_data
from hitl_cli.rules import rule as store
from hitl_cli.rules.matching import MAIN, TOOL, check_approves, check_where

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Json
    from hitl_cli.people.actor import Actor
    from hitl_cli.rules.rule import NewRule, Rule

LONGEST_MS = 30 * UNITS_MS["d"]
"""How long a rule can be valid: a person looks at it again after a month."""


class Rules:
    """The rules on a server, for one actor. Calls block.

    Each method raises NotAllowed without the permission (`read` to look, `decide` to add and remove, which no
    link has), and Unreachable.
    """

    def __init__(self, client: Client, actor: Actor) -> None:
        self.client = client
        self.actor = actor

    def add(self, rule: NewRule, *, life_ms: int) -> Rule:
        """Add a rule of the actor, valid for `life_ms`, and return it. Raises BadInput."""
        kept = self.checked(rule, life_ms=life_ms)
        return store.create(self.client, kept, life_ms=life_ms, by=self.actor.person, via=self.actor.via)

    def checked(self, rule: NewRule, *, life_ms: int) -> NewRule:
        """Return a rule as `add` stores it. Raises what `add` raises."""
        self.actor.require("decide")
        check_person(self.actor.person)
        groups = self.actor.groups
        if groups.strict and (unknown := groups.unknown((self.actor.person,))):
            raise BadInput(unknown_people(unknown, groups), code="unknown-person")
        check_where(rule.where)
        if rule.verdict == "approve":
            check_approves(rule.where)
        check_data(msgspec.to_builtins(rule))
        check_life(life_ms)
        if rule.reason is not None and rule.verdict == "approve":
            raise BadInput("a reason needs a rule that rejects.", code="bad-rule")
        named = None if rule.asker is None else groups.name(check_person(rule.asker))
        if groups.same(named, self.actor.person):
            raise BadInput("a rule cannot answer the requests of its own author.", code="bad-rule")
        return msgspec.structs.replace(rule, asker=named)

    def list(self, *, every: bool = False) -> list[Rule]:
        """Return the rules that are valid now, or also those that have ended, the oldest first."""
        self.actor.require("read")
        return [rule for rule in store.rules_of(self.client, valid=not every) if self._sees(rule)]

    def _sees(self, rule: Rule) -> bool:
        """Whether the actor may see a rule: it is theirs, it is about their requests, or they may see all."""
        actor = self.actor
        return actor.sees_all or any(actor.groups.same(actor.person, name) for name in (rule.by, rule.asker))

    def remove(self, id: str) -> tuple[Rule, bool]:
        """Remove a rule of the actor. Returns it, and whether it was valid until now.

        What it has decided stays decided. Raises NotFound, NotAllowed (it is another person's).
        """
        self.actor.require("decide")
        rule = store.find(self.client, id)
        if not (self.actor.groups.visibility.is_open or self._sees(rule)):
            raise store.no_rule(id)
        if not self.actor.groups.same(rule.by, self.actor.person):
            raise NotAllowed(
                f"the rule {id} belongs to {rule.by}: only they can remove it. Nothing was changed.",
                code="not-author",
            )
        removed = store.remove(self.client, rule, by=self.actor.person, via=self.actor.via)
        return store.find(self.client, id), removed


def check_life(life_ms: int) -> None:
    """Raise BadInput for a rule that would be valid for too long."""
    if life_ms > LONGEST_MS:
        raise bad_duration("a rule can be valid for at most 30 days.")


def where_of(tool: str | None, match: str | None, more: dict[str, Json]) -> dict[str, Json]:
    """Return the patterns of a rule: a tool, its main argument, and other arguments. Raises BadInput."""
    if tool is None and match is None:
        return more
    if match is not None and tool not in MAIN:
        known = ", ".join(MAIN)
        raise BadInput(
            f"match needs one of the tools {known}: for another tool, give an argument and its value with"
            " where.",
            code="bad-rule",
        )
    named: dict[str, Json] = {TOOL: tool}
    named |= {} if match is None or tool is None else {MAIN[tool]: match}
    for path in named.keys() & more.keys():
        if named[path] != more[path]:
            raise BadInput(
                f"{path} is given twice: once by tool or match, and once by where.", code="bad-rule"
            )
    return named | more
