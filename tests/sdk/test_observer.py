"""What stands between the SDK and its server: a task that fails in the SDK's hands."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from resonate.error import PlatformError, SerializationError, ServerError
from resonate.types import PromiseRecord

from hitl_cli.sdk.observer import ObservedTasks

if TYPE_CHECKING:
    from hitl_cli.sdk.observer import Event


class Tasks:
    """Stands for a server that answers everything with one status: no real one can be made to."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.asked: list[tuple[str, Any]] = []

    async def task_release(self, id: str, version: int) -> None:
        self._answer("task.release", (id, version))

    async def task_fulfill(self, id: str, version: int, action: Any) -> PromiseRecord:
        del version
        self._answer("task.fulfill", action.state)
        return PromiseRecord(id=id, state=action.state, value=action.value, timeout_at=1)

    def _answer(self, kind: str, data: Any) -> None:
        self.asked.append((kind, data))
        if self.status != 200:
            raise ServerError(self.status, "no")


def release_after(error: BaseException, status: int) -> tuple[list[tuple[str, Any]], list[str], list[Event]]:
    """Release a task as the SDK does while it handles an error; return what was asked, and what was said."""
    tasks, let_go = Tasks(status), list[str]()
    events: list[Event] = []
    watched = ObservedTasks(tasks, events.append, let_go.append, lambda: 0)  # type: ignore[arg-type]

    async def scenario() -> None:
        try:
            raise error  # noqa: TRY301
        except BaseException:  # noqa: BLE001
            await watched.task_release("a", 1)

    asyncio.run(scenario())
    return tasks.asked, let_go, events


@pytest.mark.parametrize("status", [200, 409])
def test_what_cannot_be_written_down_fails_the_run_and_the_sdk_is_content(status: int) -> None:
    error = PlatformError([SerializationError(TypeError("no JSON"))])

    asked, let_go, events = release_after(error, status)

    assert asked == [("task.fulfill", "rejected")]
    assert let_go == ["a"]
    reasons = [event.reason for event in events]
    assert all(reason is not None and "no JSON" in reason for reason in reasons)
    assert len(reasons) == (status == 200)


def test_what_may_go_better_elsewhere_is_given_back() -> None:
    asked, let_go, events = release_after(PlatformError([ServerError(500, "broken")]), 200)

    assert asked == [("task.release", ("a", 1))]
    assert let_go == ["a"]
    assert events == []


def test_what_cannot_be_given_back_is_not_held_either() -> None:
    with pytest.raises(ServerError):
        release_after(PlatformError([ServerError(500, "broken")]), 409)
