"""The list of workflows, and the hint for one that no worker has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Hitl

APP = "from hitl_cli import workflow\n\n@workflow\nasync def release(ctx, id):\n    return id\n"


@pytest.mark.only("file", "postgres", reason="over HTTP nobody can tell who listens")
def test_a_misspelled_workflow_is_told_while_a_worker_listens(hitl: Hitl) -> None:
    (hitl.folder / "app.py").write_text(APP)
    worker = hitl.worker("--app", "app.py")
    done = hitl.run("start", "x", "--workflow", "relaese")
    assert done.returncode == 0
    assert "relaese" in done.stderr
    assert "did you mean release?" in done.stderr
    assert hitl.run("start", "y", "--workflow", "release").stderr == ""
    listed = {(one["name"], one["group"]): one["workers"] for one in hitl.json("workflows")}
    assert listed[("release", "default")] == 1
    assert listed[("relaese", "default")] == 0
    worker.kill()
    left = {one["name"]: one for one in hitl.json("workflows")}
    assert set(left) == {"release", "relaese"}
    assert left["release"]["workers"] == 0
    assert left["release"]["last_run"] is not None
    assert list((hitl.folder / "hitl.db-bells").glob("*")) == []
