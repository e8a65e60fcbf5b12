"""Arguments that do not fit end a run at once; a step that fails is tried again, and the worker says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Hitl

APP = """
from hitl_cli import workflow

@workflow
async def nothing(ctx):
    return "ran"

@workflow
async def number(ctx, n: int):
    return n

@workflow
def flaky(ctx, id):
    raise ValueError("on purpose")
"""


def test_arguments_that_do_not_fit_fail_the_run_at_once(hitl: Hitl) -> None:
    (hitl.folder / "app.py").write_text(APP)
    hitl.worker("--app", "app.py")
    said = hitl.fails(1, "start", "a", "--workflow", "nothing", "--wait", code="run-failed")
    assert "1 for nothing()" in said
    assert "--no-args" in said
    assert "argument n must be a whole number" in hitl.fails(
        1, "start", "b", "five", "--workflow", "number", "--wait", code="run-failed"
    )
    told = hitl.fails(1, "start", "d", '{"n": 5}', "--workflow", "number", "--wait", code="run-failed")
    assert "an object" in told  # what JSON calls it
    assert hitl.ok("start", "c", "5", "--workflow", "number", "--wait") == "5\n"


def test_a_workflow_without_arguments_is_given_none(hitl: Hitl) -> None:
    (hitl.folder / "app.py").write_text(APP)
    hitl.worker("--app", "app.py")
    assert hitl.ok("start", "a", "--workflow", "nothing", "--no-args", "--wait") == '"ran"\n'
    hitl.fails(2, "start", "b", "1", "--no-args", code="bad-usage")


def test_a_step_that_is_tried_again_is_reported(hitl: Hitl) -> None:
    (hitl.folder / "app.py").write_text(APP)
    worker = hitl.worker("--app", "app.py")
    hitl.ok("start", "a", "--workflow", "flaky")
    assert "in 2s: ValueError: on purpose (app.py:" in worker.said("a retrying (flaky)")
