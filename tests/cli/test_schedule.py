"""`hitl schedule add`, `list` and `remove`; and traces, which every command can leave."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from hitl_cli.runs import Schedules
from hitl_cli.runs.schedules import ScheduleSpec
from tests.conftest import NOBODY, wait_until

if TYPE_CHECKING:
    from tests.conftest import Hitl

MINUTE_MS = 60_000


def test_a_schedule_is_added_listed_and_removed(hitl: Hitl) -> None:
    added = hitl.ok("schedule", "add", "nightly", "0 2 * * *", "--workflow", "report")
    assert added.startswith("schedule nightly added; next run: ")
    assert "already exists" in hitl.ok("schedule", "add", "nightly", "0  2 * * *", "--workflow", "report")

    assert 'nightly   0 2 * * *  report("nightly")' in hitl.ok("schedule", "list")
    [listed] = hitl.json("schedule", "list")
    assert (listed["id"], listed["workflow"], listed["args"]) == ("nightly", "report", ["nightly"])
    assert listed["next_run_at"].endswith("T02:00:00.000Z")

    assert "nightly?" in hitl.fails(3, "schedule", "remove", "nightyl", code="not-found")
    assert hitl.ok("schedule", "remove", "nightly") == "schedule nightly removed\n"
    assert hitl.json("schedule", "list") == []
    assert "nightly" in hitl.fails(3, "schedule", "remove", "nightly", code="not-found")


def test_a_schedule_takes_a_time_zone(hitl: Hitl) -> None:
    add = ("schedule", "add", "nightly", "30 2 * * *", "--timezone")
    assert "02:30:00 JST" in hitl.ok(*add, "Asia/Tokyo")  # which never changes its clocks
    assert "already exists" in hitl.ok(*add, "Asia/Tokyo")
    said = hitl.fails(4, *add, "Europe/Berlin", code="already-exists")
    assert "30 2 * * * (Asia/Tokyo) starts approval" in said
    [listed] = hitl.json("schedule", "list")
    assert (listed["cron"], listed["timezone"]) == ("30 2 * * *", "Asia/Tokyo")
    assert listed["next_run_at"].endswith("T17:30:00.000Z")
    assert "30 2 * * *  Asia/Tokyo" in hitl.ok("schedule", "list")
    assert "Europe/Berlin" in hitl.fails(
        2, "schedule", "add", "x", "0 2 * * *", "--timezone", "europe/berlin"
    )
    assert "never occurs" in hitl.fails(2, "schedule", "add", "x", "0 0 30 2 *")
    assert "never occurs" in hitl.fails(2, "schedule", "add", "x", "0 0 30 2 *", "--timezone", "Asia/Tokyo")


def test_a_schedule_gives_its_runs_the_arguments_that_it_was_given(hitl: Hitl) -> None:
    hitl.ok(
        "schedule",
        "add",
        "a",
        "* * * * *",
        "1",
        "text",
        "-k",
        "n=[2]",
        "--deadline",
        "1h",
        "--catch-up",
        "all",
    )
    hitl.ok("schedule", "add", "b", "* * * * *", "--no-args", "--group", "gpu")

    with_args, without = hitl.json("schedule", "list")

    assert (with_args["args"], with_args["kwargs"]) == ([1, "text"], {"n": [2]})
    assert (with_args["target"], with_args["catch_up"]) == ("poll://any@default", "all")
    assert (without["args"], without["target"]) == ([], "poll://any@gpu")


def test_another_schedule_of_the_same_name_is_a_conflict_and_changes_nothing(hitl: Hitl) -> None:
    hitl.ok("schedule", "add", "nightly", "0 2 * * *")
    before = hitl.json("schedule", "list")

    for other in (
        ["0 3 * * *"],
        ["0 2 * * *", "7"],
        ["0 2 * * *", "--deadline", "1h"],
        ["0 2 * * *", "-g", "x"],
    ):
        hitl.fails(4, "schedule", "add", "nightly", *other, code="already-exists")

    assert hitl.json("schedule", "list") == before


@pytest.mark.parametrize(
    "args",
    [
        ["nightly", "every day"],
        ["nightly", "0 0 30 2 *"],
        ["", "* * * * *"],
        ["a:b", "* * * * *"],
        ["a", "* * * * *", "--catch-up", "none"],
        ["a", "* * * * *", "--deadline", "soon"],
        ["a", "* * * * *", "1", "--no-args"],
        ["a"],
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(hitl: Hitl, args: list[str]) -> None:
    hitl.fails(2, "schedule", "add", *args)

    assert not hitl.database.exists() or hitl.json("schedule", "list") == []


def test_a_worker_runs_what_falls_due_once_and_people_see_it(hitl: Hitl) -> None:
    an_hour_ago = time.time_ns() // 1_000_000 - 60 * MINUTE_MS
    with hitl.client(clock=lambda: an_hour_ago) as client:
        Schedules(client, NOBODY).add(ScheduleSpec(id="hourly", cron="0 * * * *"))

    hitl.worker()
    hitl.worker()

    [item] = hitl.waiting()
    assert item["workflow"].startswith("hourly-")
    hitl.ok("approve", item["id"])
    wait_until(lambda: hitl.json("status", item["workflow"])["state"] == "completed")
    assert hitl.json("schedule", "list")[0]["last_run_at"] is not None


@pytest.mark.only("file", reason="a trace is of a file")
def test_a_trace_has_the_commands_of_people_and_workers_in_the_order_they_happened(hitl: Hitl) -> None:
    trace = hitl.folder / "trace.ndjson"
    hitl.env["HITL_TRACE"] = str(trace)
    hitl.worker()
    hitl.ok("start", "a")
    hitl.waiting()
    hitl.ok("approve", "a")
    hitl.ok("wait", "a")

    seen = [json.loads(line) for line in trace.read_text().splitlines()]

    kinds = [line["kind"] for line in seen]
    assert kinds.index("task.acquire") < kinds.index("task.suspend") < kinds.index("task.fulfill")
    assert [line["now"] for line in seen] == sorted(line["now"] for line in seen)


@pytest.mark.only("file", reason="a trace is of a file")
def test_a_trace_that_cannot_be_written_is_said_and_nothing_is_done(hitl: Hitl) -> None:
    assert "trace" in hitl.fails(6, "--trace", "missing/trace.ndjson", "start", "a", code="storage-failed")

    assert hitl.json("status") == []
