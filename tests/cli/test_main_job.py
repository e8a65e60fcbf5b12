"""The four commands, as a person runs them."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from tests import forked
from tests.conftest import HITL

if TYPE_CHECKING:
    from tests.conftest import Hitl


def test_a_workflow_starts_blocks_is_listed_is_approved_and_completes(hitl: Hitl) -> None:
    worker = hitl.worker()
    assert hitl.ok("start", "hitl-001") == "run hitl-001 started\n"
    [waiting] = hitl.waiting()
    assert waiting["id"] == "hitl-001:1"
    assert waiting["workflow"] == "hitl-001"
    assert waiting["function"] == "approval"
    assert hitl.ok("approve", "hitl-001:1") == "hitl-001:1 of run hitl-001 approved by ada\n"
    result = json.loads(hitl.ok("wait", "hitl-001", "--timeout", "30s"))
    assert result == {"message": "workflow hitl-001 completed", "data": True}
    assert hitl.json("pending") == []
    worker.said("completed")
    assert worker.stop() == 0
    events = [line.partition(" hitl-001 ")[2].split()[0] for line in worker.lines if " hitl-001 " in line]
    assert events == ["started", "waiting", "resumed", "completed"]  # one line for each event


def test_a_rejection_fails_the_run_with_the_reason(hitl: Hitl) -> None:
    worker = hitl.worker()
    hitl.ok("start", "hitl-001")
    hitl.waiting()
    assert hitl.ok("reject", "hitl-001", "--reason", "over budget") == (
        "hitl-001:1 of run hitl-001 rejected by ada\n"
    )
    assert "over budget" in hitl.fails(1, "wait", "hitl-001", "--timeout", "30s", code="run-failed")
    assert "over budget" in worker.said("failed")
    status = hitl.json("status", "hitl-001")
    assert status["state"] == "failed"
    assert status["error"] == "over budget"


def test_what_is_approved_with_is_what_the_workflow_gets(hitl: Hitl) -> None:
    hitl.worker()
    given = {"amount": 120, "note": "a 'quoted' \"text\" with ü", "list": [None, 1.5, False]}
    hitl.ok("start", "hitl-001")
    hitl.waiting()
    hitl.ok("approve", "hitl-001", "--data", json.dumps(given))
    assert json.loads(hitl.ok("wait", "hitl-001"))["data"] == given


def test_nothing_waits_for_a_worker_to_be_up(hitl: Hitl) -> None:
    done = hitl.run("start", "hitl-001")
    assert done.returncode == 0
    assert "No worker is running" in done.stderr
    assert hitl.json("status", "hitl-001")["waits_for"] == ["a worker that has approval"]
    hitl.worker()
    hitl.waiting()
    assert "No worker" not in hitl.run("start", "hitl-002").stderr


def test_wait_and_a_decision_say_that_no_worker_runs_the_workflow(hitl: Hitl) -> None:
    worker = hitl.worker("--group", "eu")
    for run in ("idle-1", "idle-2", "idle-3"):
        hitl.ok("start", run, "--group", "eu")
    hitl.waiting(3)
    assert "--group eu" not in hitl.run("approve", "idle-1").stderr
    worker.stop()
    waited = hitl.run("wait", "idle-2", "--timeout", "10ms")
    assert waited.returncode == 5
    assert waited.stderr.count("hitl worker --group eu") == 2  # at its start and at its timeout
    assert "continues" not in waited.stderr
    assert hitl.run("approve", "idle-2").stderr.count("hitl worker --group eu") == 1
    assert hitl.run("reject", "idle-3", "--json").stderr == ""
    hitl.ok("ask", "Alone?", "--id", "alone-1", "--no-wait")
    assert hitl.run("approve", "alone-1").stderr == ""


def test_foo_is_the_same_workflow(hitl: Hitl) -> None:
    hitl.worker()
    hitl.ok("start", "hitl-001", "--workflow", "foo")
    [waiting] = hitl.waiting()
    assert waiting["function"] == "foo"


def test_the_demo_approves_by_itself_without_a_terminal_whatever_the_callers_settings(hitl: Hitl) -> None:
    (hitl.folder / "hitl.toml").write_text('app = "missing.py"\ngroup = "other"\n')
    hitl.env |= {"HITL_APP": "missing.py", "HITL_GROUP": "other"}
    shown = hitl.ok("demo")
    for command in (
        "worker",
        "start hitl-001",
        "pending",
        "approve hitl-001:1",
        "wait hitl-001",
        "status hitl-001",
    ):
        assert f"$ hitl {command}" in shown
    assert '{"message":"workflow hitl-001 completed","data":true}' in shown
    assert not hitl.database.exists()


def test_the_demo_of_an_e_mail_address_shows_the_mail_and_confirms_it_by_itself(hitl: Hitl) -> None:
    shown = hitl.ok("demo", "email")
    assert "  mail |   | To: a@example.org" in shown
    assert "/l/" in shown
    assert "$ hitl approve email-confirmed-a@example.org" in shown
    assert '{"email":"a@example.org","confirmed":true,' in shown
    assert not hitl.database.exists()


def test_the_demo_of_an_agent_approves_its_command_with_a_change_and_it_runs(hitl: Hitl) -> None:
    shown = hitl.ok("demo", "agent")
    assert "+replicas = 50" in shown
    assert "$ hitl approve scale-web --set replicas=4" in shown
    assert "  agent | I ran: python scale.py web.ini 4" in shown
    assert "  agent | web.ini now has: replicas = 4" in shown
    assert "replicas: 50 → 4" in shown
    assert not hitl.database.exists()


@pytest.mark.heavy
def test_the_demo_of_proof_notices_what_somebody_changes_and_removes(hitl: Hitl) -> None:
    rows = [line.split(maxsplit=2) for line in hitl.ok("demo", "proof").splitlines()]
    states = [(row[0], row[1]) for row in rows if row and row[0] in ("pay-7", "backups") and len(row) == 3]
    assert states[-6:] == [
        ("backups", "rejected"),
        ("pay-7", "proven"),
        ("backups", "claimed"),
        ("pay-7", "wrong"),
        ("pay-7", "wrong"),
        ("backups", "wrong"),
    ]


def test_a_worker_says_what_happens_in_json_lines(hitl: Hitl) -> None:
    worker = hitl.worker("--log-json")
    hitl.ok("start", "hitl-001")
    hitl.waiting()
    hitl.ok("approve", "hitl-001")
    worker.said('"completed"')
    events = [json.loads(line) for line in worker.lines if line.startswith("{")]
    assert [event["event"] for event in events] == ["serving", "started", "waiting", "resumed", "completed"]
    assert events[2]["promises"] == ["hitl-001:1"]
    assert events[1]["function"] == "approval"


def test_completion_offers_what_waits(hitl: Hitl) -> None:
    hitl.worker()
    hitl.ok("start", "hitl-001")
    hitl.waiting()
    assert _completed(hitl, "approve hit") == ["hitl-001:1"]


def test_completion_offers_the_people_and_groups_of_the_settings(hitl: Hitl) -> None:
    (hitl.folder / "hitl.toml").write_text("[people.lead]\n[people.ops]\n[groups.ops]\nmembers = ['ops']\n")
    assert _completed(hitl, "assign hitl-001 l") == ["lead"]
    assert _completed(hitl, "ask --to ") == ["lead", "ops", "group:ops"]
    assert _completed(hitl, "away --to ") == ["lead", "ops"]


def _completed(hitl: Hitl, line: str) -> list[str]:
    words = f"hitl {line}"
    completed = forked.run(
        [HITL],
        env={
            **hitl.env,
            "_HITL_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        },
        cwd=hitl.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return str(completed.stdout).split()


def test_the_version_is_shown(hitl: Hitl) -> None:
    assert hitl.ok("--version").startswith("hitl 0.")


def test_help_needs_no_server_and_names_every_command(hitl: Hitl) -> None:
    shown = hitl.ok("--help")
    for command in (
        "worker",
        "start",
        "pending",
        "approve",
        "reject",
        "status",
        "wait",
        "cancel",
        "demo",
        "backup",
        "doctor",
        "prune",
    ):
        assert command in shown
    assert not hitl.database.exists()


def test_pending_watch_shows_a_change_when_it_happens(hitl: Hitl) -> None:
    hitl.worker()
    watching = hitl.popen("pending", "--watch", "--json")
    assert watching.stdout is not None
    try:
        assert json.loads(watching.stdout.readline()) == []
        hitl.ok("start", "hitl-001")
        assert [item["id"] for item in json.loads(watching.stdout.readline())] == ["hitl-001:1"]
        hitl.ok("approve", "hitl-001")
        assert json.loads(watching.stdout.readline()) == []
    finally:
        watching.send_signal(signal.SIGINT)
        watching.communicate()
    assert watching.returncode == 0
