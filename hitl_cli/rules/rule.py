"""A standing rule, as it is stored: a promise on the server, so that every process finds it.

The promise's deadline is the rule's end; removing the rule settles it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from hitl_cli.client.protocol import get_promise, search, send
from hitl_cli.client.records import alone, end
from hitl_cli.client.wire import Audit, Json, Verdict, audit_in, decode_as, fresh_id, headers_of
from hitl_cli.errors import NotFound
from hitl_cli.rules.matching import matches

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from hitl_cli.people.groups import Groups

type RuleState = Literal["valid", "expired", "removed"]

RULE_TAG = "hitl:rule"

PREFIX = "hitl-rule-"
"""Prefix of the ids of rules' promises."""

ID_DIGITS = 12


class NewRule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A rule to add: the data of its promise.

    It answers requests whose arguments match `where` (see matching.py), asked by `asker` (None: by anyone
    except the rule's author), in runs of `workflow` (None: anywhere).
    """

    verdict: Verdict = "approve"
    where: dict[str, Json]
    asker: str | None = None
    workflow: str | None = None
    reason: str | None = None


class Rule(NewRule, frozen=True, kw_only=True):
    """A rule of a person (`by`). Instants are ms since the epoch."""

    id: str
    by: str
    state: RuleState
    created_at: int
    ends_at: int

    def fits(
        self, arguments: Json, tool: str | None, asker: str | None, workflow: str | None, groups: Groups
    ) -> bool:
        """Whether it matches a request, with its tag `tool`. It never matches its author's own requests."""
        return (
            asker is not None
            and not groups.same(asker, self.by)
            and (self.asker is None or groups.same(asker, self.asker))
            and self.workflow in (None, workflow)
            and matches(self.where, arguments, tool, allow=self.verdict == "approve")
        )


def create(client: Client, rule: NewRule, *, life_ms: int, by: str, via: str) -> Rule:
    """Store a rule, and return it."""
    own, now = PREFIX + fresh_id()[:ID_DIGITS], client.now()
    headers = Audit(by=by, via=via, at=now).headers()
    create = alone(own, msgspec.to_builtins(rule), headers, until=now + life_ms, tags={RULE_TAG: "1"})
    kept = _rule_in(send(client, create))
    assert kept is not None
    return kept


def rules_of(client: Client, *, valid: bool = False) -> list[Rule]:
    """Return all rules, or those that are valid now, the oldest first."""
    found = search(client, state="pending" if valid else None, tags={RULE_TAG: "1"})
    rules = [rule for promise in found if (rule := _rule_in(promise)) is not None]
    return sorted(rules, key=lambda rule: (rule.created_at, rule.id))


def find(client: Client, id: str) -> Rule:
    """Return a rule by its id. Raises NotFound."""
    promise = get_promise(client, PREFIX + id)
    rule = None if promise is None else _rule_in(promise)
    if rule is None:
        raise no_rule(id)
    return rule


def no_rule(id: str) -> NotFound:
    """Return the error for an id without a rule, or with one that the actor may not see."""
    return NotFound(f"no rule {id!r}.", hint="To see all rules, run `hitl rule list`.")


def remove(client: Client, rule: Rule, *, by: str, via: str) -> bool:
    """Remove a rule. Returns whether it was valid until now."""
    return end(client, PREFIX + rule.id, "removed", by=by, via=via)


def _rule_in(promise: Promise) -> Rule | None:
    """Return the rule in a promise; None if it is not a valid one."""
    by = audit_in(headers_of(promise.param)).by
    own = promise.id.startswith(PREFIX) and promise.tags.get(RULE_TAG) == "1"
    said = decode_as(promise.param, NewRule)
    if not own or by is None or said is None or promise.is_call or promise.is_blocking:
        return None
    ended: RuleState = "expired" if promise.state == "rejected_timedout" else "removed"
    return Rule(
        **msgspec.structs.asdict(said),
        id=promise.id.removeprefix(PREFIX),
        by=by,
        state="valid" if promise.state == "pending" else ended,
        created_at=promise.created_at,
        ends_at=promise.timeout_at,
    )
