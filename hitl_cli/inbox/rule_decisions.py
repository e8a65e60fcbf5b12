"""Decisions by standing rules: a rule that matches a request decides it as soon as it is asked."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hitl_cli.client.protocol import get_promise
from hitl_cli.errors import BadInput, Conflict, NotAllowed, TimedOut
from hitl_cli.inbox.decide import decide
from hitl_cli.inbox.pending import demanded, summaries
from hitl_cli.inbox.permission import deputy_for, may_answer
from hitl_cli.inbox.rule_offers import needs_more, takes_a_plain_yes
from hitl_cli.people.actor import Actor
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.rules.matching import TOOL
from hitl_cli.rules.rule import Rule, rules_of

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.people.groups import Groups
    from hitl_cli.requests.question import Question

logger = logging.getLogger(__name__)

VIA = "rule"
"""The `via` of a rule's decisions."""


def decide_by_rule(client: Client, groups: Groups, promise: Promise, question: Question) -> Promise:
    """Decide an open request by the rule that matches it, if any, and return its current promise."""
    if promise.state != "pending" or question.arguments is None or needs_more(question):
        return promise
    rules = rules_of(client, valid=True)
    item = summaries(client, [promise.id]).get(promise.id) if rules else None
    item = None if item is None or needs_more(demanded(item, groups).asked) else item
    rule = None if item is None else _deciding(rules, item, groups)
    if item is None or rule is None:
        return promise
    actor = Actor(person=rule.by, via=VIA, groups=groups)
    reason = (rule.reason or "refused by a rule") if rule.verdict == "reject" else None
    said = DecisionInput(verdict=rule.verdict, reason=reason)
    try:
        return decide(client, actor, item, said, rule=rule.id).promise
    except (Conflict, TimedOut):  # a person, or the deadline, was first
        return get_promise(client, promise.id) or promise
    except (BadInput, NotAllowed) as error:
        about = {"request": item.id}
        logger.warning(
            "%s waits for a person: the rule %s cannot decide it: %s", item.id, rule.id, error, extra=about
        )
        return promise


def _deciding(rules: list[Rule], item: RequestSummary, groups: Groups) -> Rule | None:
    """Return the rule that decides a request. Rules that reject come before rules that approve."""
    fitting = [
        rule
        for rule in rules
        if rule.fits(item.asked.arguments, item.tags.get(TOOL), item.asker, item.function, groups)
        and may_answer(item, rule.by, groups)
        and not deputy_for(item, rule.by, groups)
        and (rule.verdict == "reject" or (takes_a_plain_yes(item.asked) and _is_known(rule, groups)))
    ]
    return min(fitting, key=lambda rule: rule.verdict != "reject", default=None)


def _is_known(rule: Rule, groups: Groups) -> bool:
    """Whether the author of a rule is still in the settings, if `strict_people` is set."""
    return not groups.strict or not groups.unknown((rule.by,))
