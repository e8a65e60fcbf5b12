"""For whom a deputy answers a request, and who of its assignees is away. No I/O."""

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
    """Return the assignees who are away and for whom a person may answer a request, as their deputy.

    `names` are the assignees. Nobody if the author wants no others (`reassign="nobody"`). Where proof is
    needed, the settings must name the deputy, because who is away is not signed.
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
    """Whether a person may answer a request for an assignee who is away, if they are one of the deputies.

    Who may not answer it themselves, because they started its run, chooses nobody who does.
    """
    choosing = (absence.person, *takewhile(lambda name: not groups.same(name, person), absence.deputies))
    by_starter = any(groups.same(name, starter) for name in choosing)
    if not question.takes_deputies or (not question.allow_self and by_starter):
        return False
    named = groups.deputies.get(groups.key(absence.person), frozenset())
    return question.proof is None or groups.key(person) in named


def absences_among(question: Question, names: Collection[str], groups: Groups) -> tuple[Absence, ...]:
    """Return those of a request's assignees who are away, with the deputies who were asked as well."""
    return tuple(
        one if question.takes_deputies else Absence(person=one.person, until=one.until)
        for one in groups.away
        if names and is_among(one.person, names, groups)
    )


def reached_deputies(names: Collection[str], groups: Groups, directory: Directory) -> tuple[str, ...]:
    """Return who stands in for those of some names who are away, and has a contact."""
    found = [
        deputy
        for one in groups.away
        if names and is_among(one.person, names, groups)
        for deputy in one.deputies
    ]
    return recipients(found, directory) if found else ()


def named_among(absences: Iterable[Absence], names: Collection[str], groups: Groups) -> tuple[Absence, ...]:
    """Return those of some absences whose persons are named: for who is not told the members of groups."""
    return tuple(one for one in absences if any(groups.same(one.person, name) for name in names))


def in_words(absence: Absence, until: str) -> str:
    """Return a sentence about an assignee who is away, `until` an instant in words."""
    if not absence.deputies:
        return f"{absence.person} is away until {until}, and nobody was asked instead"
    verb = "was" if len(absence.deputies) == 1 else "were"
    return f"{absence.person} is away until {until}: {', '.join(absence.deputies)} {verb} asked as well"
