"""Events as JSON: a worker's lines, and changes in the inbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.format.times import iso
from hitl_cli.views.runs import failure_document

if TYPE_CHECKING:
    from hitl_cli.client.wire import Json
    from hitl_cli.inbox.watch import Change
    from hitl_cli.sdk.observer import Event


_SHOWN = ("id", "workflow", "title", "outcome", "by", "changes")


def event_document(event: Event) -> Json:
    """Return one event of a run; `promises` are its open requests, `workflow` is the run's id."""
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    again = None if event.again is None else iso(event.again)
    known = {"at": iso(event.at), "again": again, "failure": failure_document(event.failure)}
    return fields | known | {"run": event.workflow}


def change_document(change: Change) -> Json:
    """Return a new, changed or decided request."""
    known = {name: getattr(change, name) for name in (*_SHOWN, "thread")}
    return known | {"run": change.workflow}
