"""Who may answer a request. Every front end, notification and link asks here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.client.wire import audit_of
from hitl_cli.errors import NotAllowed
from hitl_cli.people.groups import is_among, is_group

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hitl_cli.client.wire import Promise
    from hitl_cli.inbox.pending import RequestSummary
    from hitl_cli.people.groups import Groups
    from hitl_cli.requests.question import Question


def is_excluded(question: Question, starter: str | None, person: str, groups: Groups) -> bool:
    """Whether a person started the run of a request that its starter may not answer."""
    return not question.allow_self and groups.same(person, starter)


def is_mine(
    question: Question, names: Iterable[str], starter: str | None, person: str, groups: Groups
) -> bool:
    """Whether a request is a person's to answer. This is what `--mine`, `for=me` and the inbox page mean.

    It asks them by name or through a group, or names nobody, which means anyone; and it does not exclude
    them because they started its run. `names` are the assignees, now or at any time.
    """
    asked = tuple(names)
    return (not asked or is_among(person, asked, groups)) and not is_excluded(
        question, starter, person, groups
    )


def may_answer(item: RequestSummary, person: str, groups: Groups) -> bool:
    """Whether a request is this person's to answer now."""
    return is_mine(item.asked, item.to, item.starter, person, groups)


def check_may_answer(item: RequestSummary, person: str, groups: Groups) -> None:
    """Raise NotAllowed, which says why, unless a request is this person's to answer now."""
    if may_answer(item, person, groups):
        return
    if not item.to or is_among(person, item.to, groups):
        raise NotAllowed(
            f"{item.id} is for somebody else to answer than {person}, who started it. Nothing was changed.",
            code="self-approval",
        )
    unknown = [name for name in item.to if is_group(name) and groups.group(name) is None]
    hint = f" Your settings do not know {', '.join(unknown)}." if unknown else ""
    raise NotAllowed(
        f"{item.id} is for {' or '.join(item.to)} to answer, not for {person}.{hint} Nothing was changed.",
        code="not-assignee",
    )


def took_part(settled: Promise, person: str, groups: Groups) -> bool:
    """Whether a person made the decision on a request, or cast a vote that counted for it."""
    audit = audit_of(settled)
    return any(groups.same(by, person) for by in (audit.by, *(vote.by for vote in audit.votes)))
