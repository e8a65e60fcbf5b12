"""Members of groups by sign-in: the groups of sessions, added to those of the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from hitl_cli.format.names import folded

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.people.contacts import Directory
    from hitl_cli.people.groups import Groups

MOST_KNOWN = 10_000
"""People to remember; the oldest is forgotten first, and is learned again when it is used."""


class Memberships:
    """The groups of all sign-ins that this gateway has seen. They count only here.

    All callers get the same object while no groups change, because lists of requests are cached for it.
    """

    def __init__(self, directory: Callable[[], Directory]) -> None:
        self._directory = directory
        self._known: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._made: tuple[Groups, Groups] | None = None

    def groups(self, person: str, began_at: int, groups: tuple[str, ...]) -> Groups:
        """Return the groups of the settings, with those of this and of earlier sign-ins.

        Of several sign-ins of a person, the last one counts.
        """
        directory = self._directory()
        members = directory.members
        key = members.key(person)
        before = self._known.get(key)
        newer = before is None or began_at > before[0]
        if newer and groups != (before[1] if before is not None else ()):
            self._made = None
        if newer and (groups or before is not None):
            self._known.pop(key, None)
            self._known[key] = (began_at, groups)
            if len(self._known) > MOST_KNOWN:
                self._known.pop(next(iter(self._known)))
        if self._made is None or self._made[0] is not members:
            self._made = (members, self._extended(members))
        return self._made[1]

    def _extended(self, members: Groups) -> Groups:
        """Return the groups with their members by sign-in, for groups that still accept such members."""
        added: dict[str, set[str]] = {}
        for person, (_, groups) in self._known.items():
            for group in groups:
                if folded(group) in members.by_sign_in:
                    added.setdefault(folded(group), set()).add(person)
        if not added:
            return members
        every = {group: members.members.get(group, frozenset()) | people for group, people in added.items()}
        return replace(members, members={**members.members, **every})
