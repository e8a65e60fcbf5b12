"""What an actor may do to runs, on the file and over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hitl_cli.errors import NotAllowed, NotFound, TimedOut
from hitl_cli.people.actor import Actor
from hitl_cli.people.idempotency import IdempotencyKeyReused, mark_of
from hitl_cli.runs import Runs, Schedules
from hitl_cli.runs.run import RunSpec
from hitl_cli.runs.schedules import ScheduleSpec
from tests.conftest import wait_until

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.people.actor import Permission


def actor(*may: Permission) -> Actor:
    return Actor(person="ada", via="test", may=frozenset(may))


def test_who_may_only_read_starts_and_cancels_nothing(client: Client) -> None:
    Runs(client, actor("start")).start(RunSpec(id="a"))
    reader = Runs(client, actor("read"))
    schedules = Schedules(client, actor("read"))
    for refused in (
        lambda: reader.start(RunSpec(id="b")),
        lambda: reader.start_many([RunSpec(id="b")]),
        lambda: reader.to_cancel("a"),
        lambda: reader.cancel("a"),
        lambda: schedules.add(ScheduleSpec(id="nightly", cron="0 2 * * *")),
        lambda: schedules.remove("nightly"),
    ):
        with pytest.raises(NotAllowed):
            refused()
    assert [(run.id, run.ended) for run in reader.list()[0]] == [("a", False)]
    assert schedules.list() == []


def test_who_may_only_start_reads_nothing_but_what_they_start_and_cancel(client: Client) -> None:
    runs = Runs(client, actor("start"))
    runs.start(RunSpec(id="a"))
    other = Actor(person="another", via="test", may=frozenset({"start"}))
    Runs(client, other).start(RunSpec(id="of-another"))
    assert (runs.show("a").id, runs.steps("a").run.id) == ("a", "a")
    for look in (
        lambda: runs.show("of-another"),
        lambda: runs.steps("of-another"),
        lambda: runs.wait(Runs(client, other).show("of-another")),
    ):
        with pytest.raises(NotFound):
            look()
    for refused in (
        runs.list,
        lambda: runs.page(limit=1),
        lambda: Schedules(client, actor("start")).list(),
    ):
        with pytest.raises(NotAllowed):
            refused()
    assert runs.to_cancel("a").id == "a"
    canceled = runs.cancel("a", "no more")
    assert (canceled.fresh, canceled.run.state, canceled.run.error) == (True, "canceled", "no more")
    assert not runs.cancel("a").fresh


def test_a_request_that_is_sent_twice_starts_one_run_and_says_so_twice(client: Client) -> None:
    runs = Runs(client, actor("start", "read"))
    mark = mark_of("k", "ada", "start a", b"{}")
    assert [runs.start(RunSpec(id="a"), mark=mark).created for _ in range(2)] == [True, True]
    assert not runs.start(RunSpec(id="a")).created
    with pytest.raises(IdempotencyKeyReused):
        runs.start(RunSpec(id="a"), mark=mark_of("k", "ada", "start a", b'{"args":[1]}'))


def test_a_wait_ends_with_the_run_or_with_the_time(client: Client) -> None:
    runs = Runs(client, actor("start", "read"))
    run = runs.start(RunSpec(id="a")).run
    with pytest.raises(TimedOut):
        runs.wait(run, 0)
    runs.cancel("a")
    assert runs.wait(run, 0).state == "canceled"
    with pytest.raises(NotFound):
        runs.show("b")


def test_a_run_whose_deadline_has_passed_cannot_be_canceled(client: Client) -> None:
    runs = Runs(client, actor("start", "read"))
    runs.start(RunSpec(id="late"), deadline_ms=1)
    wait_until(lambda: client.now() > runs.show("late").deadline)
    with pytest.raises(TimedOut):
        runs.cancel("late")
    assert runs.show("late").state == "expired"


def test_all_schedules_are_listed_however_many_there_are(client: Client) -> None:
    schedules = Schedules(client, actor("start", "read"))
    names = [f"s{at:03}" for at in range(101)]
    for name in names:
        schedules.add(ScheduleSpec(id=name, cron="0 2 * * *"))
    assert [one.id for one in schedules.list()] == names
