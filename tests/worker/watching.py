"""What tests ask of a database while workers run, without the cost of a process a question."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hitl_cli import defaults
from hitl_cli.client.protocol import call, get_promise, get_tasks
from hitl_cli.client.wire import Promise, Task
from hitl_cli.inbox.pending import pending
from hitl_cli.runs import Runs
from hitl_cli.runs.reading import get_run
from hitl_cli.runs.run import RunSpec
from tests.conftest import APPS, NOBODY, wait_until

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from hitl_cli.runs.run import Run

FEATURES = str(APPS / "features.py")
STEPS = str(APPS / "steps.py")
ALL = 1_000
"""More tasks than a test has."""


def promise_of(client: Client, id: str) -> Promise:
    """Return a promise that exists."""
    promise = get_promise(client, id)
    assert promise is not None
    return promise


def task_of(client: Client, id: str) -> Task:
    """Return a task that exists."""
    return get_tasks(client, [id])[id]


def end_of(client: Client, id: str) -> Run:
    """Wait until a run has ended."""
    wait_until(lambda: promise_of(client, id).state != "pending")
    return get_run(client, id)


def result_of(client: Client, id: str) -> object:
    """Wait until a run has completed, and return its result."""
    run = end_of(client, id)
    assert run.state == "completed", run.error
    return run.result


def waiting(client: Client, count: int = 1) -> list[str]:
    """Wait until exactly so many promises wait for a person and nobody works, and return their ids."""

    def asked() -> list[str]:
        items, _ = pending(client)
        return [item.id for item in items]

    wait_until(lambda: len(asked()) >= count and not tasks(client, "acquired"))
    ids = asked()
    assert len(ids) == count
    return ids


def tasks(client: Client, state: str) -> list[Task]:
    """Return the tasks that are in a state."""
    answer = call(client, "task.search", state=state)
    return msgspec.json.decode(answer.data, type=_Tasks).tasks


def idle(client: Client) -> bool:
    """Whether no worker has a task or is to have one, at one moment: a look at each state can miss one."""
    answer = call(client, "task.search", sort="-created", limit=ALL)
    found = msgspec.json.decode(answer.data, type=_Tasks).tasks
    assert len(found) < ALL
    return not any(task.state in ("pending", "acquired") for task in found)


class _Tasks(msgspec.Struct, frozen=True):
    tasks: list[Task]


def begin(client: Client, id: str, workflow: str, *args: object, group: str = defaults.GROUP) -> None:
    """Start a run."""
    spec = RunSpec(id=id, workflow=workflow, args=list(args))
    assert Runs(client, NOBODY).start(spec, group=group).created
