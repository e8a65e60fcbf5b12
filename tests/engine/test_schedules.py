"""Schedules: the promises that they create, their times, and missed times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.engine.cron import UnknownZone
from tests.engine.conftest import ADDRESS, TARGETED, TIMER, Clock, Worker, request

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engine.conftest import Engine

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


def at(text: str) -> int:
    """Return the instant, in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000


@pytest.fixture
def engine(open_engine: Callable[[Clock], Engine]) -> Engine:
    """An engine at an instant that a calendar knows."""
    return open_engine(Clock(at("2026-03-01 12:00:30")))


def schedule(engine: Engine, id: str = "nightly", cron: str = "0 2 * * *", **data: Any) -> tuple[int, Any]:
    """Send schedule.create as the SDKs do."""
    return engine.send(
        "schedule.create",
        id=id,
        cron=cron,
        **{
            "promiseId": "{{.id}}-{{.timestamp}}",
            "promiseTimeout": DAY_MS,
            "promiseParam": {"headers": {}, "data": "eyJmdW5jIjoicmVwb3J0In0="},
            "promiseTags": TARGETED,
        }
        | data,
    )


def runs(engine: Engine) -> list[str]:
    """Return the ids of what schedules created."""
    return [promise["id"] for promise in engine.ok("promise.search", root=True)["promises"]]


def test_a_schedule_is_shown_as_it_was_created_and_once(engine: Engine) -> None:
    status, made = schedule(engine)

    assert (status, made["schedule"]) == (
        200,
        {
            "id": "nightly",
            "cron": "0 2 * * *",
            "promiseId": "{{.id}}-{{.timestamp}}",
            "promiseTimeout": DAY_MS,
            "promiseParam": {"headers": {}, "data": "eyJmdW5jIjoicmVwb3J0In0="},
            "promiseTags": TARGETED,
            "createdAt": engine.clock.now,
            "nextRunAt": at("2026-03-02 02:00"),
            "catchUp": "last",
        },
    )
    engine.clock.advance(HOUR_MS)
    assert schedule(engine, cron="* * * * *") == (200, made)
    assert engine.ok("schedule.get", id="nightly") == made


def test_when_its_time_comes_it_starts_a_lineage_of_its_own(engine: Engine) -> None:
    schedule(engine)
    due = at("2026-03-02 02:00")
    assert engine.run_batch().due == due
    engine.clock.now = due + 3

    [(id, version)] = engine.offers()

    assert (id, version) == (f"nightly-{due}", 0)
    promise = engine.promise(id)
    assert promise["tags"] == {
        "resonate:target": ADDRESS,
        "resonate:schedule": "nightly",
        "resonate:origin": id,
        "resonate:branch": id,
        "resonate:parent": id,
        "resonate:prefix": id,
        "resonate:scope": "global",
    }
    assert (promise["createdAt"], promise["timeoutAt"]) == (due, due + DAY_MS)
    assert promise["param"]["data"] == "eyJmdW5jIjoicmVwb3J0In0="
    stands = engine.ok("schedule.get", id="nightly")["schedule"]
    assert (stands["lastRunAt"], stands["nextRunAt"]) == (due, due + DAY_MS)
    assert engine.ok("promise.search", tags={"resonate:schedule": "nightly"})["promises"] == [promise]


def test_of_two_processes_one_fires_it(open_engine: Callable[[Clock], Engine], engine: Engine) -> None:
    schedule(engine)
    other = open_engine(engine.clock)
    engine.clock.now = at("2026-03-02 02:00")

    assert len(engine.offers()) + len(other.offers()) == 1
    assert len(runs(other)) == 1


@pytest.mark.parametrize("away_ms", [10 * HOUR_MS, 365 * DAY_MS])
def test_after_hours_without_a_process_it_fires_once_for_the_last_time_missed(
    engine: Engine, away_ms: int
) -> None:
    schedule(engine, cron="* * * * *", promiseTimeout=365 * DAY_MS)
    engine.clock.advance(away_ms)
    last = engine.clock.now // MINUTE_MS * MINUTE_MS

    assert engine.offers() == [(f"nightly-{last}", 0)]
    engine.run_batch()
    assert runs(engine) == [f"nightly-{last}"]
    assert engine.ok("schedule.get", id="nightly")["schedule"]["nextRunAt"] == last + MINUTE_MS


def test_it_fires_every_time_missed_where_that_was_asked_for(engine: Engine) -> None:
    status, made = schedule(engine, cron="*/10 * * * *", catchUp="all")
    assert (status, made["schedule"]["catchUp"]) == (200, "all")
    first = made["schedule"]["nextRunAt"]
    engine.clock.now = first + 250 * 10 * MINUTE_MS

    batches = 0
    while engine.run_batch().due <= engine.clock.now:
        batches += 1
        assert batches < 10

    promises = engine.ok("promise.search", tags={"resonate:schedule": "nightly"}, limit=1_000)["promises"]
    assert [p["createdAt"] for p in promises] == [first + n * 10 * MINUTE_MS for n in range(251)]
    assert {p["state"] for p in promises if p["timeoutAt"] <= engine.clock.now} == {"rejected_timedout"}
    assert engine.ok("schedule.get", id="nightly")["schedule"]["nextRunAt"] > engine.clock.now


def test_an_id_that_is_taken_is_left_as_it_is(engine: Engine) -> None:
    schedule(engine, promiseId="always-the-same")
    engine.create("always-the-same", life=10 * DAY_MS)
    engine.clock.now = at("2026-03-02 02:00")

    engine.run_batch()

    assert engine.promise("always-the-same")["tags"] == {"resonate:external": "true"}
    assert engine.ok("schedule.get", id="nightly")["schedule"]["lastRunAt"] == engine.clock.now


def test_a_template_with_a_colon_makes_one_lineage(engine: Engine) -> None:
    schedule(engine, promiseId="reports:{{.timestamp}}")
    engine.clock.now = at("2026-03-02 02:00")
    engine.run_batch()

    [promise] = engine.ok("promise.search", tags={"resonate:origin": "reports"})["promises"]
    assert promise["tags"]["resonate:origin"] == "reports"


def test_what_a_schedule_created_outlives_it(engine: Engine) -> None:
    schedule(engine)
    engine.clock.now = at("2026-03-02 02:00")
    engine.run_batch()

    assert engine.send("schedule.delete", id="nightly") == (200, {})

    assert engine.status("schedule.delete", id="nightly") == 404
    assert engine.status("schedule.get", id="nightly") == 404
    engine.clock.advance(10 * DAY_MS)
    engine.run_batch()
    assert len(runs(engine)) == 1
    assert schedule(engine)[1]["schedule"]["createdAt"] == engine.clock.now


def test_schedules_are_found_by_tag_prefix_and_page_in_the_order_of_their_ids(engine: Engine) -> None:
    for id in ("c", "a2", "b", "a1"):
        schedule(engine, id=id, promiseTags=TARGETED | {"team": "ops" if id != "b" else "dev"})

    def found(**data: Any) -> tuple[list[str], str | None]:
        answer = engine.ok("schedule.search", **data)
        return [each["id"] for each in answer["schedules"]], answer.get("cursor")

    assert found() == (["a1", "a2", "b", "c"], None)
    assert found(limit=2) == (["a1", "a2"], "a2")
    assert found(limit=2, cursor="a2") == (["b", "c"], None)
    assert found(tags={"team": "ops"}) == (["a1", "a2", "c"], None)
    assert found(idPrefix="a") == (["a1", "a2"], None)


def test_a_timer_can_be_scheduled_and_one_that_is_targeted_cannot(engine: Engine) -> None:
    assert schedule(engine, promiseTags=TIMER | TARGETED)[0] == 400
    assert schedule(engine, promiseTags=TIMER, promiseTimeout=5_000)[0] == 200
    engine.clock.now = at("2026-03-02 02:00")
    assert engine.run_batch().due == engine.clock.now + 5_000


@pytest.mark.parametrize(
    "cron",
    [
        "",
        "* * * *",
        "* * * * * *",
        "61 * * * *",
        "0 0 30 2 *",
        "0 0 * * FUNDAY",
        "@daily",
        "* * * * *\x00",
        "1-",
        "*/0 * * * *",
    ],
)
def test_a_cron_expression_that_denotes_nothing_is_refused(engine: Engine, cron: str) -> None:
    assert schedule(engine, cron=cron)[0] == 400
    assert engine.status("schedule.get", id="nightly") == 404


def test_why_an_expression_is_refused_is_told(engine: Engine) -> None:
    assert "never occurs" in schedule(engine, cron="0 0 30 2 *")[1]
    assert "never occurs" in schedule(engine, cron="CRON_TZ=Europe/Berlin 0 0 31 4,6 *")[1]
    assert "not a known time zone" in schedule(engine, cron="CRON_TZ=Europe/Nowhere 0 2 * * *")[1]
    assert "not a cron expression" in schedule(engine, cron="CRON_TZ=Europe/Berlin 0 2 * *")[1]


@pytest.mark.parametrize(
    ("cron", "following"),
    [
        ("*/15 * * * *", "2026-03-01 12:15"),
        ("0 9 * * MON-FRI", "2026-03-02 09:00"),
        ("30 1 29 2 *", "2028-02-29 01:30"),
        ("0 0 L * *", "2026-03-31 00:00"),
        ("0 0 13 * FRI", "2026-03-06 00:00"),
    ],
)
def test_cron_is_read_as_everybody_reads_it_and_in_utc(engine: Engine, cron: str, following: str) -> None:
    assert schedule(engine, cron=cron)[1]["schedule"]["nextRunAt"] == at(following)


def test_a_schedule_fires_by_the_clocks_of_its_zone_on_the_days_that_they_are_changed(engine: Engine) -> None:
    schedule(engine, cron="CRON_TZ=Europe/Berlin 30 2 * * *", catchUp="all", promiseTimeout=365 * DAY_MS)
    engine.clock.now = at("2026-03-30 12:00")
    engine.run_batch()
    fired = [int(id.removeprefix("nightly-")) for id in runs(engine)]
    assert fired[-3:] == [at("2026-03-28 01:30"), at("2026-03-29 01:00"), at("2026-03-30 00:30")]


def test_a_schedule_in_a_zone_that_is_not_known_here_waits_for_a_process_that_knows_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule(engine, cron="CRON_TZ=Europe/Berlin 30 2 * * *")
    engine.clock.now = at("2026-03-02 01:40")
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("hitl_cli.engine.cron._zone", _unknown)
        engine.run_batch()
    assert runs(engine) == []
    engine.clock.now += 3_600_000
    engine.run_batch()
    assert runs(engine) == [f"nightly-{at('2026-03-02 01:30')}"]


def _unknown(name: str) -> None:
    raise UnknownZone(name)


@pytest.mark.parametrize(
    "bad",
    [
        {"promiseId": ""},
        {"promiseId": "{{.id}}" * 1_000},
        {"promiseTimeout": -1},
        {"promiseTimeout": 2**63},
        {"catchUp": "some"},
        {"promiseTags": {"a": 1}},
        {"id": ""},
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(engine: Engine, bad: dict[str, Any]) -> None:
    given = {"id": "long-name"} | bad
    assert schedule(engine, given.pop("id"), **given)[0] == 400


def test_a_schedule_that_is_due_sooner_than_all_else_is_made_known(engine: Engine) -> None:
    engine.create("p", life=365 * DAY_MS)
    data = {
        "id": "s",
        "cron": "* * * * *",
        "promiseId": "x-{{.timestamp}}",
        "promiseTimeout": 1,
        "promiseTags": TARGETED,
    }
    assert engine.run_batch(request("schedule.create", data)).sooner


def test_calendars_end_and_schedules_stay_quiet_after_that(open_engine: Callable[[Clock], Engine]) -> None:
    engine = open_engine(Clock(2**62 - 5))

    assert schedule(engine, cron="* * * * *")[0] == 200

    assert list(engine.server.run_batch([], [Worker()]).deliveries) == []


def test_what_comes_too_late_to_live_is_settled_in_the_batch_that_creates_it(engine: Engine) -> None:
    schedule(engine, cron="* * * * *", promiseTimeout=10)
    engine.clock.advance(DAY_MS)

    batch = engine.run_batch()

    assert engine.stored("SELECT state FROM promises") == [{"state": "rejected_timedout"}]
    assert engine.stored("SELECT state FROM tasks") == [{"state": "fulfilled"}]
    assert batch.due > batch.now
