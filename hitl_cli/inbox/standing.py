"""Standing rules in the inbox: which one decides a request, and which one a request offers to its person."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hitl_cli.client.protocol import get_promise
from hitl_cli.errors import BadAnswer, BadInput, Conflict, NotAllowed, TimedOut
from hitl_cli.format.durations import format_duration, parse_duration
from hitl_cli.inbox.pending import demanded, summaries
from hitl_cli.inbox.permission import deputy_for, may_answer
from hitl_cli.people.actor import Actor
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.editable import changed
from hitl_cli.requests.private import hides_arguments
from hitl_cli.requests.question import not_askable
from hitl_cli.rules.matching import TOOL, check_where, matches
from hitl_cli.rules.rule import NewRule, Rule, rules_of
from hitl_cli.rules.rules import Rules, check_life

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Json, Promise
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.people.groups import Groups
    from hitl_cli.requests.question import Question

logger = logging.getLogger(__name__)

VIA = "rule"
"""The `via` of a rule's decisions."""


def decide_by_rule(client: Client, groups: Groups, promise: Promise, question: Question) -> Promise:
    """Decide an open request by the rule that is about it, if any, and return its current promise."""
    if promise.state != "pending" or question.arguments is None or _needs_more(question):
        return promise
    rules = rules_of(client, valid=True)
    item = summaries(client, [promise.id]).get(promise.id) if rules else None
    item = None if item is None or _needs_more(demanded(item, groups).asked) else item
    rule = None if item is None else _deciding(rules, item, groups)
    if item is None or rule is None:
        return promise
    from hitl_cli.inbox.decide import decide

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


def _needs_more(question: Question) -> bool:
    """Whether a question needs more than a rule can give: several people, or proof."""
    return question.several or question.proof is not None


def _deciding(rules: list[Rule], item: RequestSummary, groups: Groups) -> Rule | None:
    """Return the rule that decides a request: one that rejects comes before one that approves."""
    fitting = [
        rule
        for rule in rules
        if rule.fits(item.asked.arguments, item.tags.get(TOOL), item.asker, item.function, groups)
        and may_answer(item, rule.by, groups)
        and not deputy_for(item, rule.by, groups)
        and (rule.verdict == "reject" or (_takes_a_plain_yes(item.asked) and _is_known(rule, groups)))
    ]
    return min(fitting, key=lambda rule: rule.verdict != "reject", default=None)


def _is_known(rule: Rule, groups: Groups) -> bool:
    """Whether the author of a rule is still in the settings, if these name all people."""
    return not groups.strict or not groups.unknown((rule.by,))


def _takes_a_plain_yes(question: Question) -> bool:
    """Whether an approval of a question needs no data and no choice, and is for its arguments alone."""
    return question.form is None and not question.choices and question.digest is None


# Offers


def check_offer(question: Question, tool: str | None) -> None:
    """Raise BadInput for an offer that is not about the request itself. `tool` is the tag of the request."""
    if question.offer is None:
        return
    check_where(question.offer.where)
    check_life(question.offer.longest)
    if not _is_about_itself(question, tool):
        raise not_askable(
            "offer must match the arguments of the request, and the request must need one plain approval."
        )


def _is_about_itself(question: Question, tool: str | None) -> bool:
    return (
        question.offer is not None
        and not _needs_more(question)
        and _takes_a_plain_yes(question)
        and matches(question.offer.where, question.arguments, tool, allow=True)
    )


def offered(item: RequestSummary, actor: Actor) -> NewRule | None:
    """Return the rule that a request offers to an actor with its approval; None if there is none for them.

    It is for the same asker and the same workflow. A link is for one request, so it has none. Nor have
    private arguments, which everyone who sees the rule would be told.
    """
    offer = item.asked.offer
    asker = item.asker
    if (
        offer is None
        or asker is None
        or actor.only is not None
        or "decide" not in actor.may
        or actor.groups.same(asker, actor.person)
        or hides_arguments(item.asked)
        or not _is_about_itself(item.asked, item.tags.get(TOOL))
    ):
        return None
    try:
        check_where(offer.where)
    except BadInput:
        return None
    return NewRule(where=offer.where, asker=asker, workflow=item.function)


def accepted(
    client: Client, item: RequestSummary, actor: Actor, duration: str, data: Json
) -> tuple[NewRule, int]:
    """Return the rule of an approval that is also for a time, and that time in ms. Raises BadInput.

    `data` is that of the approval. With changed arguments there is no rule, because it is for others.
    """
    life_ms = parse_duration(duration)
    rule, offer = offered(item, actor), item.asked.offer
    if rule is None or offer is None:
        raise BadAnswer(
            f"{item.id} offers no rule to {actor.person}. Nothing was changed.", code="no-rule-offered"
        )
    if changed(item.asked, data):
        raise BadAnswer(
            "a rule is for the arguments as they are: approve without a change, or without the rule."
            " Nothing was changed.",
            code="no-rule-offered",
        )
    if life_ms > offer.longest:
        raise BadAnswer(
            f"{item.id} offers a rule for at most {format_duration(offer.longest)}. Nothing was changed.",
            code="no-rule-offered",
        )
    return Rules(client, actor).checked(rule, life_ms=life_ms), life_ms


def in_words(rule: NewRule) -> list[tuple[str, str]]:
    """Return what a rule is about, as names and values."""
    from hitl_cli.format.json import to_json

    rows = [(path, value if isinstance(value, str) else to_json(value)) for path, value in rule.where.items()]
    rows += [("asked by", rule.asker or "anyone else")]
    return [*rows, *([("workflow", rule.workflow)] if rule.workflow else [])]
