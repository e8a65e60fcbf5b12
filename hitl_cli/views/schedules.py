"""Schedules as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.client.tags import TARGET_TAG
from hitl_cli.client.wire import Json
from hitl_cli.engine.records import CatchUp
from hitl_cli.views.document import document_of

if TYPE_CHECKING:
    from hitl_cli.runs.schedules import Schedule


class ScheduleDocument(Struct, frozen=True, kw_only=True):
    """A schedule; `workflow` is null if another tool made it without a function to call.

    `args` is a list, or for a function in Rust the one argument itself; `timezone` is null if `cron` is in
    UTC.
    """

    id: str
    cron: str
    timezone: str | None
    workflow: str | None
    args: Json
    kwargs: dict[str, Json]
    target: str | None
    created_at: str
    next_run_at: str
    last_run_at: str | None
    catch_up: CatchUp | None


def schedule_document(schedule: Schedule) -> ScheduleDocument:
    """Return a schedule."""
    called = schedule.call
    return document_of(
        ScheduleDocument,
        schedule,
        cron=schedule.fields,
        workflow=called.func if called else None,
        args=called.args if called else [],
        kwargs=called.kwargs if called else {},
        target=schedule.promise_tags.get(TARGET_TAG),
    )
