"""Texts about a request: its assignees, its deadline, its notifications."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hitl_cli.format.durations import format_duration
from hitl_cli.notify.status import DeliveryAttempt, NotificationStatus, notifications_of
from hitl_cli.requests.question import Instead

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.inbox.details import RequestDetails
    from hitl_cli.requests.amendments import Amendment
    from hitl_cli.requests.question import Question


def notified(seen: RequestDetails) -> tuple[NotificationStatus, ...]:
    """Return the notifications of a request; for an asker who sees nothing else, without contacts."""
    every = notifications_of(seen.item.id, seen.lineage)
    if not seen.limited:
        return every
    named = (None, *seen.item.ever_asked)
    return tuple(
        one if one.occasion == "callback" else _without_ways(one)
        for one in every
        if one.occasion == "callback" or one.who in named
    )


def _without_ways(told: NotificationStatus) -> NotificationStatus:
    """Return a status without contacts and responses of servers."""
    tries = [DeliveryAttempt(who=one.who, at=one.at, outcome=one.outcome) for one in told.tries[-1:]]
    return msgspec.structs.replace(told, tries=tuple(tries))


def who_may(seen: RequestDetails) -> str:
    """Return the assignees of now, or of the time of the decision."""
    item = seen.item if seen.decision is None else msgspec.structs.replace(seen.item, now=seen.decision.at)
    names = ", ".join(item.to) or "anyone"
    if seen.item.asked.allow_self:
        return names
    starter = f"{seen.item.starter}, who" if seen.item.starter else "the person who"
    return f"{names}, except {starter} started it"


def amended_text(made: Amendment, write: Callable[[int], str]) -> str:
    """Return an amendment in words; `write` returns an instant as text."""
    match made.kind:
        case "assign":
            return f"assigned it to {', '.join(made.to)}"
        case "claim":
            return f"claimed it until {write(made.until or made.at)}"
        case "release":
            return f"ended the claim of {made.of}" if made.of else "ended the claim"
        case "extend" | "expire":
            return f"moved the deadline to {write(made.until or made.at)}"


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
