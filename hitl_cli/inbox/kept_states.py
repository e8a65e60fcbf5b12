"""States of agents' runs, stored beside their requests while people decide.

A state is a promise on the server. Through hitl, only its asker can read it. A newer state replaces an older
one, which is then settled. So the newest pending one is current, even if a process died between the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli import defaults
from hitl_cli.client.protocol import search, send, send_all
from hitl_cli.client.records import alone, closing_id
from hitl_cli.client.wire import Audit, check_size, decode_as, fresh_id, headers_of
from hitl_cli.errors import BadName
from hitl_cli.format.json import to_json
from hitl_cli.format.stable_ids import stable_id

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from hitl_cli.people.actor import Actor

STATE_TAG = "hitl:state"

PREFIX = "hitl-state-"

LONGEST_RUN = 1_000
"""Characters of the name of an agent's run."""


class _Kept(Struct, frozen=True, kw_only=True):
    """A state of a run, and the number of states before it."""

    run: str
    number: int
    state: str


def keep(client: Client, actor: Actor, run: str, state: str) -> None:
    """Store the state of an actor's run, in place of an earlier one. Raises BadName, TooLarge."""
    before = _found(client, actor, run)
    number = 1 + max((kept.number for _, kept in before), default=0)
    now = client.now()
    create = alone(
        f"{PREFIX}{fresh_id()}",
        {"run": run, "number": number, "state": state},
        Audit(by=actor.person, via=actor.via, at=now).headers(),
        until=now + defaults.DEADLINE_MS,
        tags={STATE_TAG: _mark(actor, run)},
    )
    check_size(f"the run {run}", create.data["param"])
    send(client, create)
    _end(client, before)


def kept(client: Client, actor: Actor, run: str) -> str | None:
    """Return the state of an actor's run; None if there is none. Raises BadName."""
    found = _found(client, actor, run)
    return max(found, key=lambda one: one[1].number)[1].state if found else None


def forget(client: Client, actor: Actor, run: str) -> None:
    """Delete the state of an actor's run, if there is one. Raises BadName."""
    _end(client, _found(client, actor, run))


def _found(client: Client, actor: Actor, run: str) -> list[tuple[Promise, _Kept]]:
    """Return the states of a run that are not replaced, with their promises."""
    if not 0 < len(run) <= LONGEST_RUN or run in (".", ".."):
        raise BadName(f"a run of an agent needs a name of 1 to {LONGEST_RUN:,} characters, not . or ..")
    promises = search(client, state="pending", tags={STATE_TAG: _mark(actor, run)})
    own = [one for one in promises if actor.groups.same(actor.person, headers_of(one.param).get("hitl:by"))]
    return [
        (one, said) for one in own if (said := decode_as(one.param, _Kept)) is not None and said.run == run
    ]


def _mark(actor: Actor, run: str) -> str:
    """Return a text that only the states of this run of this actor are tagged with."""
    return stable_id(to_json([actor.groups.key(actor.person), run]).encode(), 32)


def _end(client: Client, found: list[tuple[Promise, _Kept]]) -> None:
    send_all(client, [closing_id(promise.id) for promise, _ in found])
