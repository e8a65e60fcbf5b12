"""A TypeScript worker is killed, and the next one goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.typescript.conftest import Online

LEASE_MS = 4_000
"""What the programs ask for."""

PROGRAMS = ["features_async", "features_generator"]


def log(folder: Path) -> list[str]:
    """Return what the steps of the workflow `careful` have written."""
    file = folder / "log"
    return file.read_text().splitlines() if file.exists() else []


@pytest.mark.long
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_worker_killed_in_a_step_loses_nothing_but_that_step(online: Online, program: str) -> None:
    first = online.typescript(program)
    online.begin("c", "careful", str(online.folder))
    wait_until(lambda: log(online.folder) == [f"begun by {first.pid}"])
    first.kill()
    (online.folder / "go").touch()
    second = online.typescript(program)
    online.blocked()
    online.ok("approve", "c")

    assert online.end("c") == {"first": second.pid, "last": second.pid, "answer": True}
    assert log(online.folder)[1:] == [f"{what} by {second.pid}" for what in ("begun", "done", "finished")]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_worker_killed_while_the_run_is_blocked_has_done_its_steps_for_good(
    online: Online, program: str
) -> None:
    first = online.typescript(program)
    (online.folder / "go").touch()
    online.begin("c", "careful", str(online.folder))
    online.blocked()
    first.kill()
    online.ok("approve", "c", "--data", '"while nobody works"')
    second = online.typescript(program)

    assert online.end("c") == {"first": first.pid, "last": second.pid, "answer": "while nobody works"}
    assert log(online.folder) == [
        f"begun by {first.pid}",
        f"done by {first.pid}",
        f"finished by {second.pid}",
    ]


@pytest.mark.long
def test_a_step_that_lasts_longer_than_the_lease_is_kept_by_heartbeats(online: Online) -> None:
    worker = online.typescript("features_async")
    online.begin("c", "careful", str(online.folder))
    wait_until(lambda: log(online.folder) == [f"begun by {worker.pid}"])
    [lease_end] = online.stored("SELECT due FROM tasks")
    wait_until(lambda: online.stored(f"SELECT due FROM tasks WHERE due > {lease_end + LEASE_MS}"))
    (online.folder / "go").touch()
    online.blocked()

    assert log(online.folder) == [f"begun by {worker.pid}", f"done by {worker.pid}"]


def test_a_worker_goes_on_when_the_server_was_killed_and_is_back(online: Online) -> None:
    worker = online.typescript("features_generator")
    (online.folder / "go").touch()
    online.begin("c", "careful", str(online.folder))
    online.blocked()
    online.server.kill()
    online.serve()
    online.ok("approve", "c")

    assert online.end("c") == {"first": worker.pid, "last": worker.pid, "answer": True}
