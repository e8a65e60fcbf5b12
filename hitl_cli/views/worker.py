"""What a worker reports, as machines are shown it: a line of JSON for each event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.format.times import iso

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.client.wire import Json
    from hitl_cli.sdk.observer import Event


def serving_document(server: str, group: str, workflows: Sequence[str], pid: str) -> Json:
    """Return what a worker serves: its first line."""
    return {"event": "serving", "server": server, "group": group, "workflows": workflows, "pid": pid}


def event_document(event: Event) -> Json:
    """Return one thing that happened to a run; `promises` are the requests that it waits for."""
    return {name: getattr(event, name) for name in event.__struct_fields__} | {"at": iso(event.at)}
