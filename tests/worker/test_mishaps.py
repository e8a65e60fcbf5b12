"""What goes wrong in a workflow is that run's alone, is said once, and does not wear out the worker."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests import forked
from tests.conftest import HITL, PATIENCE_S, wait_until

if TYPE_CHECKING:
    from tests.conftest import Hitl

APP = """
import builtins, logging, sys, time
from pathlib import Path
from hitl_cli import workflow

@workflow
async def unwritable(ctx, id):
    return object()

@workflow
async def unwritable_step(ctx, id):
    await ctx.run(lambda ctx: object())

@workflow
async def exiting(ctx, id):
    sys.exit(3)

@workflow
async def exiting_step(ctx, id):
    await ctx.run(leave)

def leave(ctx):
    sys.exit(3)

@workflow
async def raises(ctx, name):
    raise getattr(builtins, name)("no")

@workflow
async def raises_in_step(ctx, name):
    await ctx.run(lambda ctx: exec("raise " + name))

@workflow
async def slow(ctx, gate):
    await ctx.run(wait_for, gate)
    await ctx.run(wait_for, gate)

@workflow
async def refused(ctx, id):
    await ctx.run(log_refusal)

def log_refusal(ctx):
    logging.getLogger("app").error("the shop said: server error (code=409): sold out")
    logging.getLogger("resonate.app").error("and so did another: server error (code=409): gone")

def wait_for(ctx, gate):
    while not Path(gate).exists():
        time.sleep(0.01)
"""


def test_a_result_that_cannot_be_written_down_fails_the_run_once(hitl: Hitl) -> None:
    (hitl.folder / "app.py").write_text(APP)
    worker = hitl.worker("--app", "app.py")
    for name in ("unwritable", "unwritable_step"):
        assert "cannot be stored" in hitl.fails(
            1, "start", name, "--workflow", name, "--wait", code="run-failed"
        )
        assert len([line for line in worker.lines if f" {name} started" in line]) == 1
    hitl.ok("start", "next")
    hitl.waiting()


@pytest.mark.parametrize("name", ["exiting", "exiting_step"])
def test_a_workflow_that_calls_exit_fails_once_and_does_not_end_the_worker(hitl: Hitl, name: str) -> None:
    (hitl.folder / "app.py").write_text(APP)
    worker = hitl.worker("--app", "app.py", "--lease", "500ms")
    assert "sys.exit(3) was called" in hitl.fails(
        1, "start", "a", "--workflow", name, "--wait", code="run-failed"
    )
    hitl.ok("start", "b")
    assert [item["id"] for item in hitl.waiting()] == ["b:1"]
    assert len([line for line in worker.lines if " a started" in line]) == 1
    assert worker.stop() == 0


@pytest.mark.parametrize("workflow", ["raises", "raises_in_step"])
def test_an_exception_that_ends_processes_fails_its_run_and_the_worker_goes_on(
    hitl: Hitl, workflow: str
) -> None:
    (hitl.folder / "app.py").write_text(APP)
    worker = hitl.worker("--app", "app.py")
    for name in ("KeyboardInterrupt", "GeneratorExit", "BaseException"):
        hitl.ok("start", name, name, "--workflow", workflow)
        assert name in hitl.fails(1, "wait", name, code="run-failed")
    assert worker.stop() == 0


def test_a_run_that_is_canceled_in_a_step_is_said_to_be_lost_and_nothing_else(hitl: Hitl) -> None:
    (hitl.folder / "app.py").write_text(APP)
    worker = hitl.worker("--app", "app.py")
    gate = hitl.folder / "gate"
    hitl.ok("start", "a", str(gate), "--workflow", "slow")
    worker.said("a started")
    hitl.ok("cancel", "a")
    gate.touch()
    worker.said("a lost")
    assert worker.stop() == 0
    assert worker.errors == []


def test_what_a_workflow_itself_logs_of_a_conflict_is_shown(hitl: Hitl) -> None:
    (hitl.folder / "app.py").write_text(APP)
    worker = hitl.worker("--app", "app.py")
    hitl.ok("start", "a", "--workflow", "refused", "--wait")
    assert "(code=409): sold out" in worker.complained("the shop said")
    assert "(code=409): gone" in worker.complained("and so did another")


def test_a_worker_that_nobody_reads_any_more_goes_on(hitl: Hitl) -> None:
    process = forked.Popen(
        [HITL, "worker"],
        env=hitl.env,
        cwd=hitl.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("serving")
        process.stdout.close()
        hitl.ok("start", "a")
        hitl.waiting()
        hitl.ok("approve", "a")
        assert "completed" in hitl.ok("wait", "a", "--timeout", "30s")
    finally:
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.only("file", reason="changes the clock in the file")
def test_a_clock_that_was_set_back_hides_nothing(hitl: Hitl) -> None:
    hitl.worker()
    hitl.ok("start", "a")
    hitl.waiting()
    with closing(sqlite3.connect(hitl.database)) as db, db:
        db.execute("UPDATE clock SET now = now + 3600000")
    hitl.ok("start", "b")
    assert [item["id"] for item in hitl.waiting(2)] == ["a:1", "b:1"]
    assert hitl.json("pending", "--older", "2h") == []


AWAY = """
from hitl_cli import ask, workflow
from hitl_cli.client.pool import Batches, ClientPool
from hitl_cli.errors import Unreachable

failed, run, ask_with_others = set(), ClientPool.run, Batches.ask

async def fails_once(self, function, *args, **kwargs):
    if function.__name__ not in failed:
        failed.add(function.__name__)
        raise Unreachable("gone")
    return await run(self, function, *args, **kwargs)

def fails_once_with_others(self, what):
    name = self._function.func.__name__
    if name == "_reach_deputies" and name not in failed:
        failed.add(name)
        raise Unreachable("gone")
    return ask_with_others(self, what)

ClientPool.run, Batches.ask = fails_once, fails_once_with_others

@workflow
async def pays(ctx, id):
    asked = ask(ctx, "Pay?", arguments={"amount": 5}, to="other", reassign="assignees", extend="1d")
    return (await asked).approved and sorted(failed)
"""


@pytest.mark.long
def test_a_server_that_is_away_while_a_request_is_asked_or_answered_fails_no_run(hitl: Hitl) -> None:
    (hitl.folder / "app.py").write_text(AWAY)
    (hitl.folder / "hitl.toml").write_text(
        '[people.lead]\nemail = "lead@example.org"\n[people.other]\n[policy]\n"*" = {approvals = 1}\n'
        '[email]\nhost = "127.0.0.1"\nfrom = "hitl@example.org"\n'
    )
    worker = hitl.worker("--app", "app.py")
    hitl.ok("start", "r", "--workflow", "pays")
    hitl.ok("approve", wait_until(hitl.waiting)[0]["id"], "--as", "other")
    read = {"_reach_deputies", "amendments_of_many", "decide", "get_promise", "summaries"}
    assert read <= set(json.loads(hitl.ok("wait", "r")))
    assert worker.stop() == 0


def test_settings_in_a_file_are_relative_to_it(hitl: Hitl) -> None:
    del hitl.env["HITL_SERVER"]
    below = hitl.folder / "a" / "b"
    below.mkdir(parents=True)
    (hitl.folder / "hitl.toml").write_text('server = "sqlite:///data/x.db"\napp = "flows"\n')
    (hitl.folder / "flows.py").write_text(APP)
    assert hitl.run("start", "r", cwd=below).returncode == 0
    assert (hitl.folder / "data" / "x.db").exists()
    assert "exiting" in hitl.worker().said("serving")
    wait_until(lambda: "r:1" in hitl.run("pending", cwd=below).stdout)


@pytest.mark.only("file", reason="it is about the path of a file")
def test_a_path_can_have_any_character(hitl: Hitl) -> None:
    env = {**hitl.env, "XDG_DATA_HOME": str(hitl.folder / "a b%41?#é"), "HITL_SERVER": ""}
    for _ in range(2):
        forked.run([HITL, "start", "r"], env=env, check=True, capture_output=True)
    assert (hitl.folder / "a b%41?#é" / "hitl" / "hitl.db").exists()
    assert [path.name for path in hitl.folder.iterdir()] == ["a b%41?#é"]


@pytest.mark.only("file", reason="changes the format of the file")
def test_a_worker_ends_when_a_newer_version_upgrades_its_file(hitl: Hitl) -> None:
    worker = hitl.worker()
    hitl.ok("start", "a")
    hitl.waiting()
    with closing(sqlite3.connect(hitl.database)) as db:
        db.execute("PRAGMA user_version = 999")

    worker.complained("upgraded by a newer hitl")

    assert worker.process.wait(PATIENCE_S) == 6
    assert "Traceback" not in "".join(worker.errors)
