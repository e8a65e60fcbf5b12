"""Absent assignees of a request, and their deputies. No I/O."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from hitl_cli.people.contacts import recipients
from hitl_cli.people.groups import Absence, is_among

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from hitl_cli.people.contacts import Directory
    from hitl_cli.people.groups import Groups
    from hitl_cli.requests.question import Question


def represented(
    question: Question, names: Collection[str], starter: str | None, person: str, groups: Groups
) -> tuple[str, ...]:
    """Return the absent assignees for whom a person may answer a request as their deputy.

    `names` are the assignees. Empty if the author allows no others (`reassign="nobody"`). Where proof is
    needed, the settings must name the deputy, because absences are not signed.
    """
    if not names or not question.takes_deputies:
        return ()
    return tuple(
        absence.person
        for absence in groups.stands_in.get(groups.key(person), ())
        if is_among(absence.person, names, groups)
        and may_stand_in(question, starter, absence, person, groups)
    )


def may_stand_in(
    question: Question, starter: str | None, absence: Absence, person: str, groups: Groups
) -> bool:
    """Whether a deputy of an absent assignee may answer a request for them.

    An assignee who may not answer, because they started its run, cannot choose a deputy who may.
    """
    choosing = (absence.person, *takewhile(lambda name: not groups.same(name, person), absence.deputies))
    by_starter = any(groups.same(name, starter) for name in choosing)
    if not question.takes_deputies or (not question.allow_self and by_starter):
        return False
    named = groups.deputies.get(groups.key(absence.person), frozenset())
    return question.proof is None or groups.key(person) in named


def absences_among(question: Question, names: Collection[str], groups: Groups) -> tuple[Absence, ...]:
    """Return the absences of a request's assignees, with the deputies who may answer."""
    return tuple(
        one if question.takes_deputies else Absence(person=one.person, until=one.until)
        for one in groups.away
        if names and is_among(one.person, names, groups)
    )


def reached_deputies(names: Collection[str], groups: Groups, directory: Directory) -> tuple[str, ...]:
    """Return the deputies, with a contact, of the absent people in these names."""
    found = [
        deputy
        for one in groups.away
        if names and is_among(one.person, names, groups)
        for deputy in one.deputies
    ]
    return recipients(found, directory) if found else ()


def named_among(absences: Iterable[Absence], names: Collection[str], groups: Groups) -> tuple[Absence, ...]:
    """Return the absences of people who are named directly, for a reader who may not see groups' members."""
    return tuple(one for one in absences if any(groups.same(one.person, name) for name in names))


def in_words(absence: Absence, until: str) -> str:
    """Return a sentence about an assignee who is away, `until` an instant in words."""
    if not absence.deputies:
        return f"{absence.person} is away until {until}, without a deputy"
    return f"{absence.person} is away until {until}: {', '.join(absence.deputies)} can answer instead"
