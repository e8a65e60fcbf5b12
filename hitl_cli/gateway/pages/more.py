"""Actions on a request other than a decision: the forms under "More" on its page.

To add one, add an `Action` to ACTIONS, and the fields of its form as `templates/more/NAME.html`. The page
makes the form around them. After an error it shows the form again with what was typed. Rules about people
are in `Inbox`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC

from msgspec import Struct

from hitl_cli.errors import BadInput
from hitl_cli.format.durations import parse_duration
from hitl_cli.format.times import moment
from hitl_cli.gateway.options import Options
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.amend import may_assign, may_extend, may_release
from hitl_cli.inbox.details import RequestDetails
from hitl_cli.inbox.permission import is_asker, may_answer
from hitl_cli.inbox.request_summary import RequestSummary


class Action(Struct, frozen=True, kw_only=True):
    """A form under "More". Its `name` is what the form sends as `verdict`, besides the texts of its fields.

    `offered` says whether the inbox's actor may do it now. `do` does it with the texts and the options of the
    gateway, and returns the id of the request to show next; it raises what `Inbox` raises.
    `key` opens the form, as in `hitl review`.
    """

    name: str
    summary: str
    button: str
    key: str | None = None
    offered: Callable[[Inbox, RequestDetails], bool]
    do: Callable[[Inbox, str | RequestSummary, Mapping[str, str], Options], str]


def _comment(inbox: Inbox, request: str | RequestSummary, given: Mapping[str, str], _options: Options) -> str:
    return inbox.comment(request, given.get("comment", "")).id


def _assign(inbox: Inbox, request: str | RequestSummary, given: Mapping[str, str], options: Options) -> str:
    names = [name for line in given.get("names", "").splitlines() for name in line.split(",")]
    named = [name.strip() for name in names if name.strip()]
    add, anyway = given.get("how") == "add", "anyway" in given
    done = inbox.assign(request, named, options.people, options.group, add=add, anyway=anyway)
    return done.item.id


def _extend(inbox: Inbox, request: str | RequestSummary, given: Mapping[str, str], _: Options) -> str:
    """Move a deadline by a duration, or to a day or an instant in UTC."""
    text = given.get("by", "").strip()
    by_ms, until = None, None
    with suppress(BadInput):
        by_ms = parse_duration(text)
    if by_ms is None:
        until = moment(text, inbox.client.now(), code="bad-duration", zone=UTC)
    return inbox.extend(request, by_ms, until=until).item.id


def _can_assign(inbox: Inbox, seen: RequestDetails) -> bool:
    actor = inbox.actor
    may = not actor.may.isdisjoint(("decide", "ask"))
    return may and seen.item.waits and may_assign(seen.item, actor.person, actor.groups)


def _can_claim(inbox: Inbox, seen: RequestDetails) -> bool:
    actor = inbox.actor
    may = "decide" in actor.may and may_answer(seen.item, actor.person, actor.groups)
    return may and seen.item.waits and seen.item.claim is None


def _can_release(inbox: Inbox, seen: RequestDetails) -> bool:
    actor = inbox.actor
    may = not actor.may.isdisjoint(("decide", "ask"))
    return may and seen.item.waits and may_release(seen.item, actor.person, actor.groups)


def _ask_back(inbox: Inbox, request: str | RequestSummary, given: Mapping[str, str], _: Options) -> str:
    return inbox.ask_back(request, given.get("question", "")).request


def _answer_back(inbox: Inbox, request: str | RequestSummary, given: Mapping[str, str], _: Options) -> str:
    return inbox.answer_back(request, given.get("answer", "")).request


ACTIONS = (
    Action(
        name="answer-back",
        summary="Answer the question about your request",
        button="Send the answer",
        offered=lambda inbox, seen: seen.item.asked_back is not None and is_asker(seen.item, inbox.actor),
        do=_answer_back,
    ),
    Action(
        name="ask-back",
        summary="Ask a question before you decide",
        button="Send the question",
        key="b",
        offered=lambda inbox, seen: (
            "decide" in inbox.actor.may
            and seen.item.waits
            and seen.item.question is not None
            and seen.item.asked_back is None
            and may_answer(seen.item, inbox.actor.person, inbox.actor.groups)
        ),
        do=_ask_back,
    ),
    Action(
        name="comment",
        summary="Add a comment without deciding",
        button="Add comment",
        key="c",
        offered=lambda inbox, _seen: "decide" in inbox.actor.may,
        do=_comment,
    ),
    Action(
        name="claim",
        summary="Claim it: tell the others that you are working on it",
        button="Claim",
        key="t",
        offered=_can_claim,
        do=lambda inbox, request, given, _: (
            inbox.claim(request, parse_duration(given.get("time", "") or "1h")).item.id
        ),
    ),
    Action(
        name="release",
        summary="End the claim",
        button="Release",
        key="t",
        offered=_can_release,
        do=lambda inbox, request, _given, _: inbox.release(request, anyway=True).item.id,
    ),
    Action(
        name="extend",
        summary="Move the deadline",
        button="Move the deadline",
        offered=lambda inbox, seen: (
            seen.item.waits and may_extend(seen.item, inbox.actor.person, inbox.actor.groups)
        ),
        do=_extend,
    ),
    Action(
        name="assign",
        summary="Assign it to others",
        button="Assign",
        key="g",
        offered=_can_assign,
        do=_assign,
    ),
)


def action_named(name: str) -> Action | None:
    """Return the action that a form's `verdict` names."""
    return next((action for action in ACTIONS if action.name == name), None)
