"""The known workflows: those that workers serve now, and those of recent runs."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.client.protocol import PAGE
from hitl_cli.client.tags import TARGET_TAG
from hitl_cli.runs.reading import is_own, newest_first
from hitl_cli.runs.run import group_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.client.protocol import Client, Listener
    from hitl_cli.people.sight import Sight


class ServedWorkflow(Struct, frozen=True, kw_only=True):
    """A workflow, as a group of workers serves it.

    `workers` is how many workers serve it now, None if unknown. `last_run` is when its last run started, in
    ms since the epoch; older runs than the newest page are not considered.
    """

    name: str
    group: str
    workers: int | None
    last_run: int | None


def served(client: Client, sight: Sight) -> Sequence[ServedWorkflow]:
    """Return the workflows that workers serve, and those of runs that may be seen, by name."""
    listeners = client.listeners()
    last: dict[tuple[str, str], int] = {}
    for promise in newest_first(client, None)(PAGE, None).promises:
        if (
            (call := promise.call) is not None
            and promise.is_run
            and not is_own(promise)
            and sight.run(promise)
        ):
            address = promise.tags[TARGET_TAG]
            last.setdefault((call.func, group_of(address) or address), promise.created_at)
    known = {(name, one.group) for one in listeners or () for name in one.workflows or ()}
    return [
        ServedWorkflow(
            name=name,
            group=group,
            workers=_workers(listeners, group, name),
            last_run=last.get((name, group)),
        )
        for name, group in sorted(known | set(last))
    ]


def missing(client: Client, group: str, name: str) -> str | None:
    """Return a warning if workers of a group are running and none serves the workflow; otherwise None."""
    listening = [one for one in client.listeners() or () if one.group == group]
    names = {name for one in listening for name in one.workflows or ()}
    if not listening or name in names or any(one.workflows is None for one in listening):
        return None
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"available: {', '.join(sorted(names))}."
    return f"No running worker has {name}; {hint}"


def _workers(listeners: Sequence[Listener] | None, group: str, name: str) -> int | None:
    """Return how many workers of a group serve a workflow; None if unknown."""
    listening = [one.workflows for one in listeners or () if one.group == group]
    if listeners is None or None in listening:
        return None
    return sum(1 for workflows in listening if name in (workflows or ()))
