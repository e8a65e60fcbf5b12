"""Why a run failed or a step is retried: error, step and place, in every front end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hitl_cli.runs import Runs
from tests.conftest import NOBODY, wait_until
from tests.gateway.conftest import begin_gateway
from tests.worker.watching import begin, end_of, waiting

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.runs.run import Run
    from tests.conftest import Hitl

APP = """
import asyncio
import json
import logging
from datetime import timedelta

from resonate.retry import Constant, Never

from hitl_cli import ask, workflow

ONCE = Never()

def once(ctx):
    return ctx.options(retry_policy=ONCE)

def charge(ctx):
    assert False  # LINE charge

def amount(ctx):
    return {}["amount"]  # LINE amount

async def slow(ctx):
    await asyncio.sleep(0.5)

def parse(ctx):
    return json.loads("{")  # LINE parse

async def outer(ctx):
    await once(ctx).run(amount)

class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no")

class Odd(Exception):
    def __init__(self, one, two):
        super().__init__(f"odd {one} \\udc80 \\x00")

def mute(ctx):
    raise Mute  # LINE mute

def odd(ctx):
    raise Odd(1, 2)  # LINE odd

def flaky(ctx):
    raise ValueError("no luck")  # LINE flaky

class Caller:
    def __call__(self, ctx, n):
        return n

def _step(name, function):
    @workflow(name=name)
    async def run(ctx, id):
        await once(ctx).run(function)
    return run

asserts, keys, parses, mutes, odds, nests = (
    _step(name, f) for name, f in {
        "asserts": charge, "keys": amount, "parses": parse, "mutes": mute, "odds": odd, "nests": outer
    }.items()
)

@workflow
async def times_out(ctx, id):
    await ctx.options(timeout=timedelta(milliseconds=50)).run(slow)  # LINE times_out

@workflow
async def waits_in_vain(ctx, id):
    await ctx.promise(timeout=timedelta(milliseconds=50))  # LINE waits_in_vain

@workflow
async def after_a_person(ctx, id):
    try:
        await once(ctx).run(amount)
    except KeyError as error:
        kept = error
    await ctx.promise()
    raise kept

@workflow
async def itself(ctx, id):
    await ctx.run(lambda ctx: 1)
    raise LookupError("nobody")  # LINE itself

@workflow
async def names(ctx, id):
    await ctx.run(Caller(), 1)
    await ctx.run(lambda ctx: 1)
    await ask(ctx, "Ship?")

def logs(ctx):
    logging.getLogger("shop").error("sold %s", "out")
    try:
        raise ValueError("gone")
    except ValueError:
        logging.getLogger("shop").exception("lost")

@workflow
async def noisy(ctx, id):
    await ctx.run(logs)

@workflow
async def retries(ctx, id):
    await ctx.options(retry_policy=Constant(max_retries=1, delay=600)).run(flaky)
"""

LINES = {
    line.rpartition("# LINE ")[2]: number
    for number, line in enumerate(APP.splitlines(), start=1)
    if "# LINE " in line
}


def place(function: str) -> str:
    """Return the line of the app that is marked with a function."""
    return f"app.py:{LINES[function]} in {function}"


FAILURES = {
    "asserts": ("AssertionError", "", "charge", "asserts:1"),
    "keys": ("KeyError", "'amount'", "amount", "keys:1"),
    "parses": ("JSONDecodeError", "Expecting property name", "parse", "parses:1"),
    "mutes": ("Mute", "", "mute", "mutes:1"),
    "odds": ("Odd", "odd 1", "odd", "odds:1"),
    "nests": ("KeyError", "'amount'", "amount", "nests:1.1"),
    "times_out": ("ApplicationError", "did not end before its deadline", "times_out", "times_out:1"),
    "waits_in_vain": ("ApplicationError", "did not end before", "waits_in_vain", "waits_in_vain:1"),
    "itself": ("LookupError", "nobody", "itself", None),
}


def ended(client: Client, name: str) -> Run:
    """Run a workflow to its end."""
    begin(client, name, name, "id")
    return end_of(client, name)


@pytest.fixture
def app(hitl: Hitl) -> Hitl:
    (hitl.folder / "app.py").write_text(APP)
    return hitl


def test_a_failed_run_says_the_type_the_message_the_step_and_the_line_of_the_author(app: Hitl) -> None:
    worker = app.worker("--app", "app.py")
    with app.client() as client:
        for name, (kind, message, where, step) in FAILURES.items():
            failure = ended(client, name).failure
            assert failure is not None
            assert (failure.type, failure.where, failure.step) == (kind, place(where), step), name
            assert message in failure.message
            assert failure.traceback is not None
            assert "resonate/" not in failure.traceback
            told = app.fails(1, "wait", name, code="run-failed")
            assert place(where) in told
            assert step is None or step in told
    [line] = [line for line in worker.lines if "asserts failed" in line]
    assert "AssertionError" in line
    assert place("charge") in line
    assert len([line for line in worker.lines if "assert False" in line]) == 1
    assert worker.errors == []
    assert "assert False" in app.ok("status", "asserts", "--debug")
    assert "assert False" not in app.ok("status", "asserts")
    document = app.json("status", "asserts")
    assert document["error"] == "AssertionError"
    assert document["failure"]["function"] == "charge"
    gateway = begin_gateway(app)
    try:
        page = gateway.get("/runs/asserts").text
        assert place("charge") in page
        assert "assert False" in page
    finally:
        gateway.kill()


def test_a_step_that_failed_before_a_person_was_asked_is_named_after_the_answer(app: Hitl) -> None:
    worker = app.worker("--app", "app.py")
    with app.client() as client:
        begin(client, "r", "after_a_person", "id")
        [asked] = waiting(client)
        worker.kill()
        app.worker("--app", "app.py")
        app.ok("approve", asked)
        failure = end_of(client, "r").failure
    assert failure is not None
    assert (failure.type, failure.step, failure.where) == ("KeyError", "r:1", place("amount"))


def test_steps_have_the_names_of_their_functions(app: Hitl) -> None:
    app.worker("--app", "app.py")
    with app.client() as client:
        begin(client, "r", "names", "id")
        [asked] = waiting(client)
        tree = Runs(client, NOBODY).steps("r")
        assert [step.promise.function for step in tree.root.children] == ["Caller", "<lambda>", "ask"]
    assert [step["function"] for step in app.json("status", "r")["steps"]] == ["Caller", "<lambda>", "ask"]
    assert "step Caller" in app.ok("status", "r")
    assert "step Caller" in app.ok("show", asked)


@pytest.mark.parametrize("debug", [False, True])
def test_a_step_that_is_tried_again_says_which_where_why_and_when(app: Hitl, *, debug: bool) -> None:
    worker = app.worker("--app", "app.py", env={"HITL_DEBUG": "1"} if debug else {})
    app.ok("start", "r", "--workflow", "retries")
    line = worker.said("r retrying step r:1 (flaky) in 10m")
    assert "ValueError: no luck" in line
    assert place("flaky") in line
    if debug:
        assert worker.said("raise ValueError")
        return
    [step] = wait_until(lambda: [s for s in app.json("status", "r")["steps"] if s["retries"]])
    assert step["state"] == "pending"
    assert step["steps"] == []
    [retry] = step["retries"]
    assert (retry["error"], retry["where"]) == ("ValueError: no luck", place("flaky"))
    assert retry["again"] > step["created_at"]
    app.env["TZ"] = "UTC"
    shown = app.ok("status", "r")
    assert "ValueError: no luck" in shown
    assert retry["again"][:16].replace("T", " ") in shown


def test_a_log_of_json_has_the_failure_and_nothing_that_is_not_json(app: Hitl) -> None:
    worker = app.worker("--app", "app.py", "--log-json")
    app.ok("start", "r", "--workflow", "retries")
    event = json.loads(worker.said('"retrying"'))
    assert (event["workflow"], event["step"], event["function"]) == ("r", "r:1", "flaky")
    assert event["failure"]["where"] == place("flaky")
    assert "raise ValueError" in event["failure"]["traceback"]
    app.ok("start", "n", "--workflow", "noisy", "--wait")
    worker.complained("gone")
    sold, lost = (json.loads(line) for line in worker.errors)
    assert (sold["level"], sold["logger"], sold["message"]) == ("error", "shop", "sold out")
    assert "raise ValueError" in lost["traceback"]
    app.ok("start", "f", "--workflow", "keys")
    failed = json.loads(worker.said('"failed"'))["failure"]
    assert (failed["type"], failed["step"], failed["where"]) == ("KeyError", "f:1", place("amount"))
