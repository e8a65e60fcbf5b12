"""The standing rule that a request offers: approve it, and similar requests for a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.errors import BadAnswer, BadInput
from hitl_cli.format.durations import format_duration, parse_duration
from hitl_cli.requests.editable import changed
from hitl_cli.requests.private import hides_arguments
from hitl_cli.requests.question import not_askable
from hitl_cli.rules.matching import TOOL, check_where, matches
from hitl_cli.rules.rule import NewRule
from hitl_cli.rules.rules import Rules, check_life

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Json
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.people.actor import Actor
    from hitl_cli.requests.question import Question


def check_offer(question: Question, tool: str | None) -> None:
    """Raise BadInput for an offer that does not match its own request. `tool` is the tag of the request."""
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
        and not needs_more(question)
        and takes_a_plain_yes(question)
        and matches(question.offer.where, question.arguments, tool, allow=True)
    )


def offered(item: RequestSummary, actor: Actor) -> NewRule | None:
    """Return the rule that a request offers to an actor with its approval; None if there is none for them.

    It is for the same asker and the same workflow. A link is for one request, so it gets no rule. Requests
    with private arguments offer none, because a rule would reveal them.
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
    """Return the rule to make with an approval, and its validity in ms. Raises BadInput.

    `data` is that of the approval. An approval with changed arguments makes no rule, because the rule would
    be about the original ones.
    """
    life_ms = parse_duration(duration)
    rule, offer = offered(item, actor), item.asked.offer
    if rule is None or offer is None:
        raise BadAnswer(
            f"{item.id} offers no rule to {actor.person}. Nothing was changed.", code="no-rule-offered"
        )
    if changed(item.asked, data):
        raise BadAnswer(
            "a rule covers unchanged arguments only: approve without a change, or without the rule."
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
    """Return what a rule matches, as names and values."""
    from hitl_cli.format.json import to_json

    rows = [(path, value if isinstance(value, str) else to_json(value)) for path, value in rule.where.items()]
    rows += [("asked by", rule.asker or "anyone else")]
    return [*rows, *([("workflow", rule.workflow)] if rule.workflow else [])]


def needs_more(question: Question) -> bool:
    """Whether a question needs more than a rule can give: several people, or proof."""
    return question.several or question.proof is not None


def takes_a_plain_yes(question: Question) -> bool:
    """Whether an approval of a question needs no data and no choice, only its arguments."""
    return question.form is None and not question.choices and question.digest is None
