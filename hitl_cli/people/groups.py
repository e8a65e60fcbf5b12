"""Names of people in the settings' spelling, and members of groups."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from hitl_cli.errors import BadInput
from hitl_cli.format.names import folded, normalized
from hitl_cli.people.visibility import EVERYONE, Visibility
from hitl_cli.requests.demand import Allowances, Demand, Policy
from hitl_cli.requests.question import GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hitl_cli.requests.question import Question


class KeyLife(Struct, frozen=True):
    """The time for which a key is valid, in ms since the epoch. A revocation sets `until`."""

    since: int | None = None
    until: int | None = None

    def is_valid(self, now: int) -> bool:
        """Whether the key is valid at an instant."""
        return (self.since is None or self.since <= now) and (self.until is None or now < self.until)


class Absence(Struct, frozen=True, kw_only=True):
    """A person is away until an instant; from `since` until then (ms), `deputies` may answer for them."""

    person: str
    until: int
    deputies: tuple[str, ...] = ()
    since: int = 0


class Standing(ABC):
    """The current absences, and the deputies."""

    @property
    @abstractmethod
    def away(self) -> tuple[Absence, ...]:
        """The current absences."""

    @property
    @abstractmethod
    def stands_in(self) -> Mapping[str, tuple[Absence, ...]]:
        """The absences, by the key of each deputy."""


class Groups(Struct, frozen=True, kw_only=True):
    """The people and groups of the settings. A key is a folded name.

    `spelled` has each person's name in the settings' spelling, by their key and by their e-mail address.
    `groups` has each group's name by its key, `members` the keys of its members. `people` are the keys of all
    people that the settings name. `strict`: other people cannot be assignees. `ssh` and `passkeys` have the
    public keys with which each person signs, by their key. `by_sign_in` are the keys of groups that also get
    members from a sign-in provider, so that not all members are known. `lives` has the time for which a key
    is valid, by its fingerprint. `policy` has the demands of the settings on decisions, `allowances` the
    defaults for what requests allow, `visibility` who may see what. `deputies` has the keys of a person's
    possible deputies where proof is needed, by the person's key.

    `standing` has the current absences, which are on the server (people/away.py); None if they are not read.
    """

    spelled: Mapping[str, str] = {}
    groups: Mapping[str, str] = {}
    members: Mapping[str, frozenset[str]] = {}
    people: frozenset[str] = frozenset()
    strict: bool = False
    ssh: Mapping[str, tuple[str, ...]] = {}
    passkeys: Mapping[str, tuple[str, ...]] = {}
    by_sign_in: frozenset[str] = frozenset()
    lives: Mapping[str, KeyLife] = {}
    policy: Policy = {}
    allowances: Allowances = {}
    visibility: Visibility = EVERYONE
    deputies: Mapping[str, frozenset[str]] = {}
    standing: Standing | None = None

    @property
    def away(self) -> tuple[Absence, ...]:
        """The current absences."""
        return () if self.standing is None else self.standing.away

    @property
    def stands_in(self) -> Mapping[str, tuple[Absence, ...]]:
        """The current absences, by the key of each deputy."""
        return {} if self.standing is None else self.standing.stands_in

    def name(self, name: str) -> str:
        """Return the stored form of the name of a person or group. All names from outside pass through here.

        A person or group of the settings is returned in their spelling, also for an e-mail address. Any other
        name is returned in the form in which names are stored.
        """
        plain = normalized(name) or name  # an empty name is refused later, by an error that shows it
        if is_group(plain):
            bare = bare_name(plain)
            return f"{GROUP}{self.groups.get(folded(bare), bare)}"
        return self.spelled.get(folded(plain), plain)

    def spelling(self, name: str) -> str:
        """Return a name in the settings' spelling; an unknown name unchanged."""
        known = self.groups if is_group(name) else self.spelled
        return self.name(name) if folded(bare_name(name)) in known else name

    def same(self, one: str | None, other: str | None) -> bool:
        """Whether two names mean the same person or group."""
        if one is None or other is None:
            return False
        return one == other or folded(self.name(one)) == folded(self.name(other))

    def key(self, name: str) -> str:
        """Return a key that is the same for all names of a person."""
        return folded(self.name(name))

    def group(self, name: str) -> frozenset[str] | None:
        """Return the keys of a group's members; None for a person or an unknown group."""
        return self.members.get(folded(bare_name(name)))

    def joined_by(self, person: str) -> tuple[str, ...]:
        """Return the keys of the groups that may have a person as a member by sign-in only."""
        key = self.key(person)
        return tuple(group for group in sorted(self.by_sign_in) if key in self.members.get(group, ()))

    def with_joined(self, person: str, groups: Iterable[str]) -> Groups:
        """Return groups with a person added to those of `groups` that accept members by sign-in."""
        joined = self.by_sign_in.intersection(groups)
        every = {group: self.members.get(group, frozenset()) | {self.key(person)} for group in joined}
        return replace(self, members={**self.members, **every}) if every else self

    def unknown(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the names that are not in the settings, and may be misspelled.

        If the settings name no people, any person is accepted, but no group.
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
    ssh: Mapping[str, tuple[str, ...]] = {},
    passkeys: Mapping[str, tuple[str, ...]] = {},
    policy: Mapping[str, Demand] = {},
    visibility: Visibility = EVERYONE,
) -> Groups:
    """Return groups with these members, and people with these e-mail addresses and public keys.

    An address that two people share identifies neither.
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

    def signers(keys: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        return {folded(person): own for person, own in keys.items() if own}

    return Groups(
        spelled=spelled,
        groups=known.groups,
        members=every,
        people=people,
        strict=strict,
        ssh=signers(ssh),
        passkeys=signers(passkeys),
        policy=policy,
        visibility=visibility,
    )


def check_known(names: Iterable[str], groups: Groups) -> None:
    """Raise BadInput for names that are not in the settings."""
    if unknown := groups.unknown(names):
        raise BadInput(f"the request is not valid: {unknown_people(unknown, groups)}", code="unknown-person")


def check_meant(names: Iterable[str], groups: Groups, *, anyway: bool) -> None:
    """Raise BadInput for names that are not in the settings, unless `anyway`; with `strict`, always."""
    if groups.strict:
        check_known(names, groups)
    elif not anyway and (unknown := groups.unknown(names)):
        raise BadInput(
            f"{unknown_people(unknown, groups)} Nothing was changed.",
            code="unknown-name",
            hint="To use it anyway: add --yes.",
        )


def unknown_people(names: Sequence[str], groups: Groups) -> str:
    """Return a sentence about names that are not in the settings, with similar names that are."""
    from difflib import get_close_matches

    known = {**groups.spelled, **{f"{GROUP}{key}": f"{GROUP}{group}" for key, group in groups.groups.items()}}
    near = [known[found] for name in names for found in get_close_matches(folded(name), known, n=1)]
    meant = f" Did you mean {' and '.join(near)}?" if near else ""
    if any("," in name for name in names):
        meant = " Pass each name separately, as in --to lead --to ops."
    return f"{in_words(names)} {'are' if len(names) > 1 else 'is'} not in the settings.{meant}"


def in_words(names: Sequence[str], last: str = "and") -> str:
    """Return names as a list in a sentence: `reviewer, lead and group:ops`."""
    *first, end = names
    return f"{', '.join(first)} {last} {end}" if first else end


def spelled(question: Question, groups: Groups) -> Question:
    """Return a question with its assignees in the settings' spelling; unknown names unchanged."""
    to = tuple(map(groups.spelling, question.to))
    late = tuple(replace(step, to=tuple(map(groups.spelling, step.to))) for step in question.escalate)
    by = {groups.spelling(name): count for name, count in question.approvals_by.items()}
    same = to == question.to and late == question.escalate and by == question.approvals_by
    return question if same else replace(question, to=to, escalate=late, approvals_by=by)


def is_group(name: str) -> bool:
    """Whether a name begins with `group:`."""
    return folded(name).startswith(GROUP)


def bare_name(name: str) -> str:
    """Return the name of a group without `group:`."""
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
    """Return a key for a name, the same with and without `group:`, so that a filter finds both."""
    return groups.key(bare_name(name))


def everyone_in(to: Iterable[str], groups: Groups) -> frozenset[str] | None:
    """Return the keys of all people in `to`; None if it is empty or has a group with unknown members."""
    people: set[str] = set()
    names = tuple(to)
    for name in names:
        members = groups.group(name)
        known = folded(bare_name(name)) not in groups.by_sign_in
        if members is not None and known:
            people |= members
        elif is_group(name) or not known:
            return None
        else:
            people.add(groups.key(name))
    return frozenset(people) if names else None
