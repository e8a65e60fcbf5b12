"""A worker looks for the private names of the SDK that it needs before it takes a task."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import pytest

from hitl_cli.sdk.contract import check_sdk

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.conftest import Hitl

CHANGES = {
    "resonate.ids.join_id": "import resonate.ids; del resonate.ids.join_id",
    "resonate.effects.ResonateEffects.create_promise(req)": (
        "from resonate.effects import ResonateEffects; del ResonateEffects.create_promise"
    ),
    "resonate.context._State.clock": (
        "from resonate.context import _State\n"
        "_State.__init__ = lambda self, **given: vars(self).update(given)"
    ),
    "resonate.send.TaskLifecycle.task_release(id, version)": (
        "from resonate.send import TaskLifecycle\n"
        "async def task_release(self, id, version, reason): ...\n"
        "TaskLifecycle.task_release = task_release"
    ),
    "resonate.send.TaskLifecycle.task_extend": (
        "from resonate.send import TaskLifecycle\n"
        "async def task_extend(self, id): ...\n"
        "TaskLifecycle.task_extend = task_extend"
    ),
    "resonate.core.Core.fencing": "import resonate.core; del resonate.core.Core",
    "resonate.observability.Dropped": "import sys; sys.modules['resonate.observability'] = None",
}
"""What a later version of the SDK might have done, and the name that the error must then show."""


def changed(folder: Path, how: str) -> Mapping[str, str]:
    """Return an environment in which the SDK has been changed before anything else runs."""
    (folder / "sitecustomize.py").write_text(how)
    return {"PYTHONPATH": str(folder)}


def test_the_installed_sdk_has_what_is_needed() -> None:
    check_sdk()


def test_the_check_takes_less_time_than_anybody_notices() -> None:
    def took() -> float:
        began = perf_counter()
        check_sdk()
        return perf_counter() - began

    assert min(took() for _ in range(20)) < 0.002


@pytest.mark.parametrize("name", CHANGES)
def test_with_another_sdk_a_worker_does_not_start_and_names_what_differs(
    hitl: Hitl, tmp_path: Path, name: str
) -> None:
    told = hitl.fails(1, "worker", env=changed(tmp_path, CHANGES[name]))
    assert name in told
    assert "resonate-sdk<0.9,>=0.8" in told


@pytest.mark.parametrize("command", ["worker", "dev"])
def test_with_another_sdk_no_task_is_taken(hitl: Hitl, tmp_path: Path, command: str) -> None:
    hitl.ok("start", "r")
    effects = "resonate.effects.ResonateEffects.create_promise(req)"  # used at the first request of a run
    assert effects in hitl.fails(1, command, env=changed(tmp_path, CHANGES[effects]))
    worker = hitl.worker()
    assert worker.said("r started")  # and not resumed: nobody has held it before


def test_without_a_worker_nothing_of_it_is_needed(hitl: Hitl, tmp_path: Path) -> None:
    hitl.env.update(changed(tmp_path, CHANGES["resonate.ids.join_id"]))
    hitl.ok("start", "r")
    hitl.ok("cancel", "r")
