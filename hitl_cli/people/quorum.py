"""Counts the approvals of a quorum: each person counts once, in the place where that helps most.

A quorum has places: a number for members of each group, and the rest for anyone who may answer. A person in
two groups takes a place of one of them. The assignment of people to places is a maximum flow, so that the
quorum is reached if any assignment reaches it, in whatever order they voted.
"""

from __future__ import annotations

from collections import defaultdict, deque
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from hitl_cli.people.groups import is_among
from hitl_cli.requests.outcome import noun_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hitl_cli.people.groups import Groups
    from hitl_cli.requests.question import Question

ANYONE = ""
"""The places of a quorum that anyone who may answer can take."""

type _Node = tuple[str, str]

_START: _Node = ("start", "")
_END: _Node = ("end", "")


class Voice(NamedTuple):
    """A person who approves. `seats` are the keys of the people whose approval it can be: usually their own.

    A seat is taken once: a person and their deputy are one approval.
    """

    person: str
    seats: frozenset[str]


def voice_of(person: str, groups: Groups, instead_of: Iterable[str] = ()) -> Voice:
    """Return the voice of a person who decides for themselves, or as the deputy of others."""
    own = groups.key(person)
    return Voice(own, frozenset(map(groups.key, instead_of)) or frozenset((own,)))


def places(question: Question) -> dict[str, int]:
    """Return how many approvals a question needs of each group, and of anyone besides."""
    by = question.approvals_by
    rest = question.approvals - sum(by.values())
    return {**by, **({ANYONE: rest} if rest > 0 else {})}


def filled(
    question: Question, voices: Sequence[Voice], groups: Groups, wanted: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Return how many places of each group are taken, in an assignment that takes as many as possible.

    `wanted` are some places of the question; by default all.
    """
    wanted = places(question) if wanted is None else wanted
    if not question.approvals_by and all(voice.seats == {voice.person} for voice in voices):
        return {ANYONE: len({voice.person for voice in voices})}
    takes = {name: [name] for name in wanted} | {ANYONE: question.besides}
    flow = _Flow()
    for voice in voices:
        flow.link(_START, ("voice", voice.person))
        for seat in sorted(voice.seats):
            flow.link(("voice", voice.person), ("seat", seat))
            flow.link(("seat", seat), ("seat taken", seat))
            for name in wanted:
                if not takes[name] or is_among(seat, takes[name], groups):
                    flow.link(("seat taken", seat), ("place", name))
    for name, most in wanted.items():
        flow.link(("place", name), _END, most)
    flow.fill()
    return {name: flow.spare[_END, ("place", name)] for name in wanted}


class _Flow:
    """A network, and the room that is left on each link, in both directions."""

    def __init__(self) -> None:
        self.spare: dict[tuple[_Node, _Node], int] = {}
        self._beside: dict[_Node, list[_Node]] = defaultdict(list)

    def link(self, one: _Node, other: _Node, room: int = 1) -> None:
        """Add a link, if it is new."""
        if (one, other) not in self.spare:
            self.spare[one, other], self.spare[other, one] = room, 0
            self._beside[one].append(other)
            self._beside[other].append(one)

    def fill(self) -> None:
        """Send as much as possible from the start to the end."""
        while way := self._way():
            for step in pairwise(way):
                self.spare[step] -= 1
                self.spare[step[::-1]] += 1

    def _way(self) -> list[_Node]:
        """Return the shortest way from the start to the end that has room; empty if there is none."""
        came_from: dict[_Node, _Node] = {}
        ahead = deque([_START])
        while ahead and _END not in came_from:
            node = ahead.popleft()
            for other in self._beside[node]:
                if other != _START and other not in came_from and self.spare[node, other]:
                    came_from[other] = node
                    ahead.append(other)
        way = [_END] if _END in came_from else []
        while way and way[-1] != _START:
            way.append(came_from[way[-1]])
        return way[::-1]


def approvals(question: Question, voices: Sequence[Voice], groups: Groups) -> int:
    """Return how many of the approvals that a question needs are given by these people."""
    return sum(filled(question, voices, groups).values())


def in_words(taken: int, question: Question, taken_by: Mapping[str, int]) -> str:
    """Return the progress of a quorum: `2 of 3`, and by group if it is by group."""
    so_far = f"{taken} of {question.approvals}"
    parts = [f"{name} {taken_by.get(name, 0)} of {most}" for name, most in question.approvals_by.items()]
    return f"{so_far} ({', '.join(parts)})" if parts else so_far


def with_noun(so_far: str, question: Question | None) -> str:
    """Return `in_words` with its noun: `1 of 2 approvals (group:ops 1 of 1, …)`."""
    count, by_group, parts = so_far.partition(" (")
    return f"{count} {'approval' if question is None else noun_of(question)}s{by_group}{parts}"
