"""The catalogue of checks is as long as the specification's."""

from __future__ import annotations

import copy
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine import catalogue
from tests.engine.catalogue import ALWAYS, RECORD, SPAN, STEP, SWEEP, UNCHECKED, Schedule, Unblock
from tests.engine.conftest import ADDRESS, EXTERNAL, LIFE_MS, START_MS, TARGETED, TIMER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engine.catalogue import State
    from tests.engine.conftest import Engine

CHECKS: list[dict[str, Any]] = [ALWAYS, STEP, SPAN, SWEEP, RECORD]
NAMES = Path(__file__).with_name("catalogue_names.txt")
"""The names in spec/02-abstract/properties.lean, in its order."""


def test_every_name_of_the_specification_is_checked_or_has_a_reason_not_to_be() -> None:
    checked = [name for checks in CHECKS for name in checks]

    assert sorted([*checked, *UNCHECKED]) == sorted(NAMES.read_text().split())
    assert all(UNCHECKED.values())


def test_an_empty_file_breaks_nothing() -> None:
    nothing = catalogue.State(rows={"promises": 0, "tasks": 0, "schedules": 0})
    assert catalogue.broken_in(0, nothing) == []
    assert catalogue.broken_by(0, nothing, nothing, one_step=True, asked=False) == []


NOW = START_MS + 5
FIELDS: dict[str, list[Any]] = {
    "state": ["pending", *catalogue.SETTLED, "acquired", "suspended", "halted", "fulfilled"],
    "param": [{"data": "x"}],
    "value": [{"data": "x"}],
    "tags": [{}, TIMER, TARGETED, EXTERNAL],
    "timeout_at": [NOW, NOW - 1, START_MS - 1],
    "created_at": [START_MS - 1, NOW + 1, 10**9],
    "settled_at": [None, START_MS - 1, NOW, NOW + 1, START_MS + LIFE_MS, START_MS + LIFE_MS + 1],
    "callbacks": [[], ["held"], ["held", "held"], ["open"], ["asleep"]],
    "listeners": [[], [ADDRESS], [ADDRESS, ADDRESS], ["nowhere"]],
    "version": [0, 7],
    "address": ["http://x"],
    "pid": [None, "w9"],
    "ttl": [None, 77],
    "due": [None, NOW, NOW - 1, NOW + 99],
    "resumes": [0, 1, 99],
    "cron": ["0 0 * * *"],
    "promise_tags": [TIMER | TARGETED],
    "next_run_at": [0],
    "last_run_at": [0, 10**12],
}
"""What each field is set to in turn, to break something."""


@pytest.fixture
def full(engine: Engine) -> State:
    """A state in which there is one of everything."""
    for id in ("held", "asleep", "stopped", "ended", "offered"):
        engine.hold(id)
    engine.create("open")
    engine.create("heard")
    engine.create("clock", TIMER)
    engine.ok("promise.register_listener", awaited="open", address=ADDRESS)
    engine.ok("promise.register_listener", awaited="heard", address=ADDRESS)
    engine.ok("promise.register_callback", awaited="heard", awaiter="offered")
    engine.settle("heard")
    engine.suspend("asleep", 1, "open")
    engine.ok("task.halt", id="stopped")
    engine.fulfill("ended", 1)
    engine.ok("task.release", id="offered", version=1)
    template = {"promiseId": "{{.timestamp}}", "promiseTimeout": 5}
    engine.ok("schedule.create", id="s", cron="* * * * *", **template)
    with closing(sqlite3.connect(engine.path, isolation_level=None)) as file:
        return catalogue.read(file)


def spoilt(s: State) -> Iterator[State]:
    """Yield the state with one thing about it changed."""
    for kind in ("promises", "tasks", "schedules"):
        things: dict[str, Any] = getattr(s, kind)
        yield replace(s, rows=s.rows | {kind: len(things) + 1})
        for id, thing in things.items():
            yield changed(s, kind, {key: other for key, other in things.items() if key != id})
            for spoilt_thing in spoilt_fields(thing):
                yield changed(s, kind, things | {id: spoilt_thing})
    for message in [Unblock("heard", ADDRESS), Unblock("open", ADDRESS), Unblock("heard", "nowhere")]:
        yield replace(s, unblocks=[*s.unblocks, message])
    yield replace(s, unblocks=[])
    for task in [
        {"id": "offered", "version": 1},
        {"id": "offered", "version": 2},
        {"id": "ended", "version": 1},
    ]:
        for address in (ADDRESS, "http://x"):
            yield replace(s, handed=[(address, {"kind": "execute", "data": {"task": task}})])
    yield replace(s, handed=[(ADDRESS, {"kind": "execute", "data": {"task": {"id": "none", "version": 1}}})])
    told = {"id": "heard", "state": "resolved", "settledAt": 1, "value": {}, "timeoutAt": 1, "createdAt": 1}
    yield replace(s, handed=[(ADDRESS, {"kind": "unblock", "data": {"promise": told}})])


def changed(s: State, kind: str, things: dict[str, Any]) -> State:
    """Return the state with other promises, tasks or schedules."""
    other = copy.copy(s)
    setattr(other, kind, things)
    return other


def spoilt_fields(thing: Any) -> Iterator[Any]:
    """Yield the promise, task or schedule with one field changed, or two."""
    names = [name for name in FIELDS if hasattr(thing, name)]
    one = [replace(thing, **{name: value}) for name in names for value in FIELDS[name]]
    yield from one
    for once in one:
        if not isinstance(once, Schedule) and once.state != thing.state:
            yield from (replace(once, **{name: value}) for name in names for value in FIELDS[name])


def test_every_check_can_fail(full: State, monkeypatch: pytest.MonkeyPatch) -> None:
    full.handed = []
    assert catalogue.broken_in(NOW, full) == []
    assert catalogue.broken_by(NOW, full, full, one_step=True, asked=False) == []
    broken: set[str] = set()
    for state in spoilt(full):
        broken.update(catalogue.broken_in(NOW, state))
        broken.update(catalogue.broken_by(NOW, full, state, one_step=True, asked=False))
        broken.update(catalogue.broken_by(NOW, state, full, one_step=True, asked=False))
    promise = {"id": "p", "timeoutAt": 1, "callbacks": [], "listeners": []}
    task = {"id": "t", "version": 1, "resumes": ["p"], "expiresAt": 1}
    broken.update(catalogue.broken_by_record(promise, full), catalogue.broken_by_record(task, full))
    monkeypatch.setattr(catalogue, "OFFER_RETRY_MS", 0)
    broken.update(catalogue.broken_in(NOW, full))

    assert {name for checks in CHECKS for name in checks} - broken == set()
