"""Too large data fails its run once, on the file and over HTTP; from people it is refused."""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.engine.records import VALUE_MAX
from hitl_cli.engine.wall_clock import now_ms
from tests.server.conftest import LIFE_MS
from tests.worker.watching import begin, end_of, promise_of, result_of

if TYPE_CHECKING:
    from tests.conftest import Hitl
    from tests.server.conftest import Served

APP = """
from pathlib import Path
from hitl_cli import ask, workflow

LARGE = "x" * 6_000_000

def large(ctx):
    with Path("calls").open("a") as calls:
        calls.write("x")
    return LARGE

def raises(ctx):
    with Path("calls").open("a") as calls:
        calls.write("x")
    raise ExceptionGroup(LARGE, [ValueError(1)])

@workflow
async def step(ctx, id):
    await ctx.run(large)

@workflow
async def result(ctx, id):
    return large(ctx)

@workflow
async def details(ctx, id):
    large(ctx)
    await ask(ctx, "Ship?", details=LARGE)

@workflow
async def call(ctx, id):
    large(ctx)
    await ctx.rpc("step", LARGE)

@workflow
async def caught(ctx, id):
    try:
        await ctx.run(large)
    except Exception as error:
        return type(error).__name__

@workflow
async def fits(ctx, id):
    return len(await ctx.run(lambda ctx: "x" * 3_100_000))
"""


@pytest.mark.parametrize("by", ["file", "server"])
def test_what_is_too_large_to_be_stored_fails_its_run_and_no_step_is_repeated(
    hitl: Hitl, served: Served, by: str
) -> None:
    (hitl.folder / "app.py").write_text(APP)
    worker = hitl.worker("--app", "app.py", env={"HITL_SERVER": served.url} if by == "server" else {})
    with hitl.client() as client:
        for name in ("step", "result", "details", "call"):
            begin(client, name, name, "id")
            run = end_of(client, name)
            assert run.state == "failed"
            assert run.failure is not None
            assert run.failure.type == "TooLarge"
            assert f"{VALUE_MAX:,}" in run.failure.message
            assert (run.failure.where is not None) == (name != "result")
            worker.said(f" {name} started")
            assert len([line for line in worker.lines if f" {name} started" in line]) == 1
        assert (hitl.folder / "calls").read_text() == "xxxx"
        begin(client, "caught", "caught", "id")
        assert result_of(client, "caught") == "ApplicationError"
        begin(client, "fits", "fits", "id")
        assert result_of(client, "fits") == 3_100_000
        assert promise_of(client, "fits:1").state == "resolved"


def test_the_limit_of_a_payload_is_the_same_for_every_request(served: Served) -> None:
    served.create("p")
    for size, status in ((VALUE_MAX, 200), (VALUE_MAX + 1, 400)):
        create = {"id": f"p{size}", "timeoutAt": now_ms() + LIFE_MS, "param": {"data": "x" * size}}
        assert served.send("promise.create", create)[0] == status
        settle = {"id": "p", "state": "resolved", "value": {"headers": {"a": "b"}, "data": "x" * (size - 2)}}
        assert served.send("promise.settle", settle)[0] == status


def action(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return a request inside another one."""
    return {"kind": kind, "head": {"corrId": "c", "version": "2026-04-01"}, "data": data}


@pytest.mark.parametrize("kind", ["create", "settle", "fulfill"])
def test_a_worker_of_any_sdk_that_sends_too_much_ends_its_run(served: Served, kind: str) -> None:
    served.create("run")
    assert served.acquire("run", 0)[0] == 200
    held = {"id": "run", "version": 1}
    step = {"id": "run:1", "timeoutAt": now_ms() + LIFE_MS, "tags": {"resonate:scope": "local"}}
    served.ok("task.fence", **held, action=action("promise.create", step))
    large = {"data": "x" * (2 * VALUE_MAX)}
    result = {"state": "resolved", "value": large}
    match kind:
        case "create":
            asked = action("promise.create", {**step, "id": "run:2", "param": large})
            assert served.send("task.fence", {**held, "action": asked})[0] == 409
        case "settle":
            asked = action("promise.settle", {"id": "run:1", **result})
            assert served.send("task.fence", {**held, "action": asked})[0] == 409
        case _:
            served.ok("task.fulfill", **held, action=action("promise.settle", {"id": "run", **result}))
    promise = served.ok("promise.get", id="run")["promise"]
    assert promise["state"] == "rejected"
    assert f"{VALUE_MAX:,}" in b64decode(promise["value"]["data"]).decode()
    assert served.ok("promise.get", id="run:1")["promise"]["state"] == "pending"
    assert served.ok("task.get", id="run")["task"]["state"] == "fulfilled"


@pytest.mark.parametrize("by", ["file", "server"])
def test_what_people_send_is_held_to_the_same_limit(hitl: Hitl, served: Served, by: str) -> None:
    if by == "server":
        hitl.env["HITL_SERVER"] = served.url
    (hitl.folder / "large.json").write_text(f'"{"x" * 6_000_000}"')
    hitl.ok("ask", "--id", "a", "--no-wait", "--", "Ship?")
    hitl.fails(2, "approve", "a", "--data", "@large.json", code="too-large")
    hitl.fails(2, "ask", "--details", "@large.json", "--no-wait", "--", "Ship?", code="too-large")
    assert hitl.json("show", "a")["state"] == "pending"
