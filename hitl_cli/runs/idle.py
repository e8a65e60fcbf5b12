"""Whether a run waits because no worker serves its group."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from hitl_cli import defaults
from hitl_cli.client.tags import TARGET_TAG
from hitl_cli.errors import HitlError
from hitl_cli.format.shell import quoted
from hitl_cli.runs.run import group_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise


def no_worker(client: Client, group: str | None, what: str = "the run") -> str | None:
    """Return a sentence if no worker of a group is listening, so that `what` waits; otherwise None.

    It says how to start a worker. It is also None without a group, or if the server cannot tell.
    """
    listens: bool | None = None
    with suppress(HitlError):  # the action itself has succeeded, so this failure is ignored
        listens = None if group is None else client.has_worker(group)
    if group is None or listens is not False:
        return None
    option = "" if group == defaults.GROUP else f" --group {quoted(group)}"
    of = "" if group == defaults.GROUP else f" of group {group}"
    return f"No worker{of} is running, so {what} waits. Start one: hitl worker{option}"


def idle_groups(client: Client, runs: Iterable[Promise | None]) -> list[str]:
    """Return a sentence for each group without a worker, so that these open runs do not continue."""
    waiting = [run for run in runs if run is not None and run.is_run and run.state == "pending"]
    groups = {group_of(run.tags.get(TARGET_TAG, "")) for run in waiting}
    return [idle for group in sorted(filter(None, groups)) if (idle := no_worker(client, group))]
