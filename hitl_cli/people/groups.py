"""Who is who: groups of people, and whether somebody is among those who are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.requests.question import GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

type Groups = Mapping[str, frozenset[str]]
"""The members of each group that the settings know."""

NO_GROUPS: Groups = {}


def group_named(name: str, groups: Groups) -> frozenset[str] | None:
    """Return the members of the group that a name stands for; None for a person, or a group not known."""
    return groups.get(name.removeprefix(GROUP))


def is_among(person: str, to: Iterable[str], groups: Groups) -> bool:
    """Whether a person is one of `to`, by name or as a member of a group."""
    return any(person == name or person in (group_named(name, groups) or ()) for name in to)


def as_asked(names: Iterable[str], groups: Groups) -> tuple[str, ...]:
    """Return names as a request stores them: `group:NAME` for the name of a group in the settings."""
    return tuple(f"{GROUP}{name}" if name in groups else name for name in names)


def in_both_forms(names: Iterable[str]) -> tuple[str, ...]:
    """Return each name both bare and as `group:NAME`: a filter finds a group by either form."""
    bare = [name.removeprefix(GROUP) for name in names]
    return tuple(form for name in bare for form in (name, f"{GROUP}{name}"))


def everyone_in(to: Iterable[str], groups: Groups) -> frozenset[str] | None:
    """Return all people that `to` names; None where nobody can know: no names, or a group not known."""
    people: set[str] = set()
    names = tuple(to)
    for name in names:
        members = group_named(name, groups)
        if members is not None:
            people |= members
        elif name.startswith(GROUP):
            return None
        else:
            people.add(name)
    return frozenset(people) if names else None
