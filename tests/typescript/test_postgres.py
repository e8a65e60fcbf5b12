"""A worker of the npm SDK on PostgreSQL, whose requests are decided by our commands."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Hitl, WorkerProcess
from tests.typescript import node as nodes


@pytest.fixture
def worker(hitl: Hitl, database: str, node: str, pytestconfig: pytest.Config) -> WorkerProcess:
    """A TypeScript worker on a fresh database, which the command uses too."""
    hitl.use(database)
    packages = nodes.installed(pytestconfig.cache.mkdir("typescript"), "pg@8")
    project = nodes.in_javascript(nodes.project(hitl.folder / "project", packages))
    started = WorkerProcess([node, "postgres.js"], hitl.env, project)
    hitl.workers.append(started)
    started.said("serving")
    return started


def start(hitl: Hitl, id: str) -> str:
    """Start a run, and return the request that it waits for."""
    hitl.ok("start", id, "1.4.2", "--workflow", "deploy", "--group", "typescript")
    [item] = hitl.waiting()
    return str(item["id"])


def result(hitl: Hitl, id: str) -> object:
    return json.loads(hitl.ok("wait", id, "--timeout", "30s"))


def test_a_run_asks_is_approved_sleeps_and_completes(hitl: Hitl, worker: WorkerProcess) -> None:
    assert start(hitl, "r") == "r:1"
    [item] = hitl.json("pending")
    assert (item["prompt"], item["to"], item["function"]) == ("Ship 1.4.2?", ["ada"], "deploy")
    assert hitl.json("status", "r")["waits_for"] == ["r:1"]
    hitl.fails(7, "approve", "r", "--as", "clerk", code="not-assignee")
    hitl.ok("approve", "r", "--data", '{"go": 1}')
    assert result(hitl, "r") == '1.4.2 is out, approved with {"go":1}'
    assert worker.lines.count("checking 1.4.2") == 1
    assert [step["id"] for step in hitl.json("status", "r")["steps"]] == ["r:0", "r:1", "r:2", "r:3"]


def test_a_rejection_is_an_error_with_the_reason(hitl: Hitl, worker: WorkerProcess) -> None:
    hitl.ok("reject", start(hitl, "r"), "--reason", "over büdget")
    assert result(hitl, "r") == "1.4.2 stays here: over büdget"
    assert not worker.errors
