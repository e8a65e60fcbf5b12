"""Numbers of open runs, by workflow and state. Names no run."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from hitl_cli.client.protocol import pages, tasks_in
from hitl_cli.runs.reading import is_own, newest_first

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client

READ_MOST = 5_000
"""Open runs to read. With more, only the newest are counted."""

type OpenState = Literal["queued", "running", "waiting"]
"""Queued until a worker takes it, with its first step and after each wait; waiting for people, time, or other
runs, or halted."""

STATES: tuple[OpenState, ...] = ("queued", "running", "waiting")

OF_TASKS: dict[str, OpenState] = {"pending": "queued", "acquired": "running"}
"""States of tasks. All other open runs wait."""


class OpenRuns(Struct, frozen=True, kw_only=True):
    """The number of open runs by workflow and state. `partial` says that there are more than were read."""

    counts: dict[tuple[str | None, OpenState], int]
    partial: bool = False


def open_runs(client: Client) -> OpenRuns | None:
    """Return the open runs; None if the server would also read all ended ones. Raises Unreachable.

    The cost depends on the open runs only. Runs that hitl starts for itself are left out, as in every list.
    """
    if not (client.capabilities.root and client.capabilities.sort):
        return None
    states: dict[str, OpenState] = {
        task.id: state for of_task, state in OF_TASKS.items() for task in tasks_in(client, of_task, READ_MOST)
    }
    counts: Counter[tuple[str | None, OpenState]] = Counter()
    read = 0
    for page in pages(newest_first(client, "running")):
        if read >= READ_MOST:
            return OpenRuns(counts=dict(counts), partial=True)
        counts.update((run.function, states.get(run.id, "waiting")) for run in page if not is_own(run))
        read += len(page)
    return OpenRuns(counts=dict(counts))
