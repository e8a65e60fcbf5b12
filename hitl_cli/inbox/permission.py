"""Who may answer a request, for all front ends, notifications and links."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.errors import NotAllowed
from hitl_cli.people.deputies import represented
from hitl_cli.people.groups import in_words, is_among, is_group, unknown_people

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.people.actor import Actor
    from hitl_cli.people.groups import Groups
    from hitl_cli.requests.question import Question


def is_excluded(question: Question, starter: str | None, person: str, groups: Groups) -> bool:
    """Whether a person is excluded from a request because they started its run."""
    return not question.allow_self and groups.same(person, starter)


def is_mine(
    question: Question, names: Iterable[str], starter: str | None, person: str, groups: Groups
) -> bool:
    """Whether a person may answer a request that has these assignees.

    They must be an assignee, by name or through a group, or the deputy of an absent assignee; without
    assignees, anyone may answer. They must not be excluded because they started its run. `names` are its
    assignees, of now or of any time.
    """
    asked = tuple(names)
    among = not asked or is_among(person, asked, groups)
    if not among and groups.stands_in:
        among = bool(represented(question, asked, starter, person, groups))
    return among and not is_excluded(question, starter, person, groups)


def may_answer(item: RequestSummary, person: str, groups: Groups) -> bool:
    """Whether a person may answer a request now."""
    return is_mine(item.asked, item.to, item.starter, person, groups)


def deputy_for(item: RequestSummary, person: str, groups: Groups) -> tuple[str, ...]:
    """Return the assignees whose deputy a person is; none if they are an assignee themselves."""
    if not item.to or is_among(person, item.to, groups):  # reading absences takes a round trip
        return ()
    return represented(item.asked, item.to, item.starter, person, groups)


def waits_for(item: RequestSummary, person: str, groups: Groups) -> bool:
    """Whether a request waits for a person: they may answer it, or they asked it and were asked back."""
    asked_back = item.asked_back is not None and item.waits and groups.same(person, item.asker)
    return asked_back or may_answer(item, person, groups)


def is_asker(item: RequestSummary, actor: Actor) -> bool:
    """Whether an actor has asked a request, or started the run that asks; true if neither is recorded."""
    return item.asker is None or actor.groups.same(actor.person, item.asker)


def check_may_answer(item: RequestSummary, person: str, groups: Groups) -> None:
    """Raise NotAllowed, with the reason, unless a person may answer a request now."""
    if may_answer(item, person, groups):
        return
    stands_in = any(
        is_among(one.person, item.to, groups) for one in groups.stands_in.get(groups.key(person), ())
    )
    if stands_in and (item.asked.proof is not None or not item.asked.takes_deputies):
        why = "a signed decision can only be made by a deputy that the settings name"
        if not item.asked.takes_deputies:
            why = 'it was asked with reassign="nobody", which allows no deputies'
        raise NotAllowed(
            f"only {in_words(item.to, 'or')} can answer {item.id}, and {person} cannot: {why}. Nothing was"
            " changed.",
            code="not-assignee",
        )
    if not item.to or stands_in or is_among(person, item.to, groups):
        raise NotAllowed(
            f"{person} started {item.id}, so someone else must answer it. Nothing was changed.",
            code="self-approval",
        )
    unknown = [name for name in item.to if is_group(name) and groups.group(name) is None]
    hint = f" {unknown_people(unknown, groups)}" if unknown else ""
    raise NotAllowed(
        f"only {in_words(item.to, 'or')} can answer {item.id}; {person} cannot.{hint} Nothing was changed.",
        code="not-assignee",
    )
