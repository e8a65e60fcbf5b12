"""Who is who: whom a name means, as the settings spell it, and who is in which group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from hitl_cli.errors import BadInput
from hitl_cli.format.names import folded, normalized
from hitl_cli.requests.question import GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hitl_cli.requests.question import Question


class Groups(Struct, frozen=True, kw_only=True):
    """The people and groups that the settings know.

    `spelled` is the name of each person as the settings spell it, by its key and by their address; `groups`
    the name of each group by its key, and `members` the keys of who is in it. A key is a folded name.
    `people` are the keys of all who are named anywhere, and `strict` says that nobody else may be asked.
    """

    spelled: Mapping[str, str] = {}
    groups: Mapping[str, str] = {}
    members: Mapping[str, frozenset[str]] = {}
    people: frozenset[str] = frozenset()
    strict: bool = False

    def name(self, name: str) -> str:
        """Return whom a name means: every name of a person or a group that comes in goes through here.

        A person or a group of the settings as these spell it, also for an address; anybody else as they are
        named, but in the form in which names are stored.
        """
        plain = normalized(name) or name  # which is no name: the error shows it
        if is_group(plain):
            bare = bare_name(plain)
            return f"{GROUP}{self.groups.get(folded(bare), bare)}"
        return self.spelled.get(folded(plain), plain)

    def spelling(self, name: str) -> str:
        """Return a name as the settings spell it; one that they do not know as somebody wrote it."""
        known = self.groups if is_group(name) else self.spelled
        return self.name(name) if folded(bare_name(name)) in known else name

    def same(self, one: str | None, other: str | None) -> bool:
        """Whether two names mean the same person or group, whoever wrote them down."""
        if one is None or other is None:
            return False
        return one == other or folded(self.name(one)) == folded(self.name(other))

    def key(self, name: str) -> str:
        """Return what is the same for all names of one person."""
        return folded(self.name(name))

    def group(self, name: str) -> frozenset[str] | None:
        """Return the keys of the members of a group; None for a person, or a group not known."""
        return self.members.get(folded(bare_name(name)))

    def unknown(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the names of which the settings say nothing: nobody may be called so, and nobody answer.

        Where they name nobody at all, any person may be meant, but no group has members.
        """
        return tuple(
            name
            for name in names
            if self.group(name) is None
            and (is_group(name) or (bool(self.people) and self.key(name) not in self.people))
        )


NO_GROUPS = Groups()


def groups_of(
    members: Mapping[str, Iterable[str]],
    addresses: Mapping[str, str | None] = {},
    *,
    strict: bool = False,
) -> Groups:
    """Return the groups of people with these members, and the people with their addresses, if any.

    An address that two people share is nobody's.
    """
    shared = Counter(folded(address) for address in addresses.values() if address)
    spelled = {
        folded(address): person
        for person, address in addresses.items()
        if address and shared[folded(address)] == 1
    }
    spelled |= {folded(person): person for person in addresses}
    known = Groups(spelled=spelled, groups={folded(group): group for group in members})
    every = {folded(group): frozenset(map(known.key, people)) for group, people in members.items()}
    people = frozenset(map(folded, addresses)).union(*every.values())
    return Groups(spelled=spelled, groups=known.groups, members=every, people=people, strict=strict)


def check_known(names: Iterable[str], groups: Groups) -> None:
    """Raise BadInput for names of which the settings say nothing."""
    if unknown := groups.unknown(names):
        raise BadInput(f"this cannot be asked: {unknown_people(unknown, groups)}", code="unknown-person")


def unknown_people(names: Sequence[str], groups: Groups) -> str:
    """Return a sentence about names of which the settings say nothing, and whom they may mean."""
    from difflib import get_close_matches

    known = {**groups.spelled, **{f"{GROUP}{key}": f"{GROUP}{group}" for key, group in groups.groups.items()}}
    near = [known[found] for name in names for found in get_close_matches(folded(name), known, n=1)]
    meant = f" Did you mean {' and '.join(near)}?" if near else ""
    return f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} not in the settings.{meant}"


def spelled(question: Question, groups: Groups) -> Question:
    """Return a question with the names that it asks as the settings spell them; others stay as they are."""
    to = tuple(map(groups.spelling, question.to))
    late = tuple(replace(step, to=tuple(map(groups.spelling, step.to))) for step in question.escalate)
    same = to == question.to and late == question.escalate
    return question if same else replace(question, to=to, escalate=late)


def is_group(name: str) -> bool:
    """Whether a name says that it is a group's."""
    return folded(name).startswith(GROUP)


def bare_name(name: str) -> str:
    """Return the name of a group without what says that it is one."""
    plain = normalized(name)
    return normalized(plain[len(GROUP) :]) if is_group(plain) else plain


def is_among(person: str, to: Iterable[str], groups: Groups) -> bool:
    """Whether a person is one of `to`, by name or as a member of a group."""
    key = groups.key(person)
    return any(key == groups.key(name) or key in (groups.group(name) or ()) for name in to)


def as_asked(names: Iterable[str], groups: Groups) -> tuple[str, ...]:
    """Return names as a request stores them: `group:NAME` for the name of a group in the settings."""
    return tuple(
        groups.name(name if groups.group(name) is None else f"{GROUP}{bare_name(name)}") for name in names
    )


def in_one_form(name: str, groups: Groups) -> str:
    """Return what is the same for a person's or a group's name in all forms: a filter finds a group bare."""
    return groups.key(bare_name(name))


def everyone_in(to: Iterable[str], groups: Groups) -> frozenset[str] | None:
    """Return the keys of all people that `to` names; None where it names nobody, or a group not known."""
    people: set[str] = set()
    names = tuple(to)
    for name in names:
        members = groups.group(name)
        if members is not None:
            people |= members
        elif is_group(name):
            return None
        else:
            people.add(groups.key(name))
    return frozenset(people) if names else None
