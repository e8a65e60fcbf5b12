"""Texts about a request: its assignees, its deadline, its notifications."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hitl_cli.format.durations import format_duration
from hitl_cli.notify.status import DeliveryAttempt, NotificationStatus, notifications_of
from hitl_cli.requests.question import Instead

if TYPE_CHECKING:
    from hitl_cli.inbox.details import RequestDetails
    from hitl_cli.requests.question import Question


def notified(seen: RequestDetails) -> tuple[NotificationStatus, ...]:
    """Return the notifications of a request, or the part of them that who asked it may see."""
    every = notifications_of(seen.item.id, seen.lineage)
    if not seen.limited:
        return every
    named = (None, *seen.item.asked.everyone)
    return tuple(
        one if one.occasion == "callback" else _without_ways(one)
        for one in every
        if one.occasion == "callback" or one.who in named
    )


def _without_ways(told: NotificationStatus) -> NotificationStatus:
    """Return a status without how somebody is reached, and what their server said."""
    tries = [DeliveryAttempt(who=one.who, at=one.at, outcome=one.outcome) for one in told.tries[-1:]]
    return msgspec.structs.replace(told, tries=tuple(tries))


def who_may(seen: RequestDetails) -> str:
    """Return the assignees now, or when the request was decided."""
    age = (seen.decision.at if seen.decision else seen.item.now) - seen.item.created_at
    names = ", ".join(seen.item.asked.asked_at(age)) or "anyone"
    if seen.item.asked.allow_self:
        return names
    return f"{names}, except who started the run ({seen.item.starter or 'unknown'})"


def later(seen: RequestDetails) -> list[tuple[str, int]]:
    """Return the assignees of later escalations as phrases, and when (ms since the epoch)."""
    item = seen.item
    ahead = [(item.created_at + step.after, step.to) for step in item.asked.escalate]
    return [
        (f"also {', '.join(to)} in {format_duration(at - item.now)}", at)
        for at, to in sorted(ahead)
        if seen.decision is None and at > item.now
    ]


def at_deadline(question: Question) -> str:
    """Return what happens at the deadline."""
    match question.on_deadline:
        case "expire":
            return "then it expires"
        case "approve":
            return "then it counts as approved"
        case "reject":
            return "then it counts as rejected"
        case Instead(value=value):
            return f"then it counts as approved with {msgspec.json.encode(value).decode()}"
