"""Records that a person is away: checks who may record it, and who can be their deputy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.errors import BadInput, NotAllowed
from hitl_cli.format.durations import UNITS_MS
from hitl_cli.people.actor import check_person
from hitl_cli.people.away import AwayInput, end_away, set_away
from hitl_cli.people.groups import check_meant

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.people.actor import Actor
    from hitl_cli.people.away import Away

LONGEST_MS = 366 * UNITS_MS["d"]
"""The latest end of an absence, from now."""


def go_away(
    client: Client,
    actor: Actor,
    *,
    until: int,
    since: int | None,
    to: str | None,
    person: str | None,
    anyway: bool,
) -> Away:
    """Record that a person is away, and their deputy. See Inbox.go_away."""
    groups, now = actor.groups, client.now()
    absent = _whose(actor, person)
    begin = now if since is None else since
    if not max(begin, now) < until <= now + LONGEST_MS:
        raise BadInput(
            "an absence must end in the future, after its start, and at most a year from now. Nothing was"
            " changed.",
            code="bad-away",
        )
    deputy = None if to is None else groups.name(check_person(to))
    others = [name for name in (deputy, person and groups.name(person)) if name is not None]
    check_meant(others, groups, anyway=anyway)
    if deputy is not None and groups.same(deputy, absent):
        raise BadInput(
            f"{absent} cannot be their own deputy: name somebody else. Nothing was changed.", code="bad-away"
        )
    if not groups.same(absent, actor.person) and groups.same(deputy, actor.person):
        raise NotAllowed(
            f"{actor.person} cannot become the deputy of {absent} this way: ask {absent} or another operator"
            " to do it. Nothing was changed."
        )
    said = AwayInput(person=absent, since=begin, to=deputy)
    return set_away(client, groups, said, until=until, by=actor.person, via=actor.via)


def come_back(client: Client, actor: Actor, person: str | None) -> bool:
    """End a person's absence. Returns whether there was one. See Inbox.come_back."""
    return end_away(client, actor.groups, _whose(actor, person))


def _whose(actor: Actor, person: str | None) -> str:
    """Return the named person, by default the actor. Raises NotAllowed unless an operator names another."""
    actor.require("decide")
    named = actor.groups.name(check_person(actor.person if person is None else person))
    if not actor.groups.same(named, actor.person) and not actor.operates:
        raise NotAllowed(
            f"only {named} or an operator ([roles] in the settings) can change when {named} is away;"
            f" {actor.person} cannot. Nothing was changed."
        )
    return named
