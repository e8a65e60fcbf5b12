"""`hitl schedule add`, `list` and `remove`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from hitl_cli.cli.completion import offered
from hitl_cli.cli.context import AsPerson
from hitl_cli.cli.options import (
    Args,
    AsJson,
    Group,
    Kwarg,
    Workflow,
    argument,
    family,
    flag,
    value,
)
from hitl_cli.cli.output import print_json
from hitl_cli.cli.render.table import Column, print_list
from hitl_cli.cli.runs import read_arguments, tell_no_worker
from hitl_cli.format.durations import format_age, parse_duration
from hitl_cli.format.times import local, local_minute
from hitl_cli.runs import Schedules
from hitl_cli.runs.run import show_call
from hitl_cli.runs.schedules import ScheduleSpec
from hitl_cli.views.schedules import schedule_document

app = family("schedule", "Start runs on a schedule.")


def _complete_schedule(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    return offered(
        ctx,
        incomplete,
        lambda client, actor: ((one.id, one.cron) for one in Schedules(client, actor).list()),
    )


@app.command()
def add(
    ctx: AsPerson,
    id: Annotated[str, argument("NAME", "Name for the schedule, of your choice.")],
    cron: Annotated[
        str, argument("CRON", "Cron expression in quotes: minute, hour, day of month, month, day of week.")
    ],
    args: Annotated[
        list[str] | None, argument("[ARG]...", "Arguments, as JSON or text. Default: the name.")
    ] = None,
    workflow: Workflow = None,
    timezone: Annotated[
        str | None, value("ZONE", "Time zone of CRON, e.g. Europe/Berlin. Default: UTC.")
    ] = None,
    kwarg: Kwarg = None,
    exact: Args = None,
    no_args: Annotated[bool, flag("Pass no arguments.", "--no-args")] = False,
    group: Group = None,
    deadline: Annotated[str, value("DURATION", "Time limit of each run.")] = "365d",
    catch_up: Annotated[
        Literal["last", "all"],
        value("WHICH", "Missed times to run later: last (only the last one) or all."),
    ] = "last",
    as_json: AsJson = False,
) -> None:
    """Add a schedule that starts a run at the times of a cron expression."""
    settings = ctx.settings
    given, named = read_arguments(args, kwarg, exact, no_args=no_args)
    spec = ScheduleSpec(
        id=id,
        cron=cron,
        timezone=timezone,
        workflow=settings.workflow(workflow).value,
        args=given,
        kwargs=named,
        group=settings.group(group).value,
        deadline_ms=parse_duration(deadline),
        catch_up=catch_up,
    )
    with ctx.opened(Schedules, creates=True) as (schedules, client):
        added = schedules.add(spec)
        tell_no_worker(client, spec.group, [spec.workflow], "a scheduled run")
        if as_json:
            print_json(schedule_document(added.schedule))
            return
        state = "added" if added.created else "already exists"
        next_run = local(added.schedule.next_run_at, added.schedule.timezone)
        print(f"schedule {id} {state}; next run: {next_run}")


@app.command("list")
def list_(ctx: AsPerson, as_json: AsJson = False) -> None:
    """List the schedules by name."""
    with ctx.opened(Schedules) as (schedules, client):
        found = schedules.list()
        now = client.now()
    zones = [one.timezone for one in found]
    last = [one.last_run_at for one in found]
    print_list(
        [schedule_document(schedule) for schedule in found],
        [
            Column("schedule", [one.id for one in found], whole=True),
            Column("cron", [one.fields for one in found], whole=True),
            *([Column("zone", [zone or "UTC" for zone in zones], whole=True)] if any(zones) else []),
            Column("starts", [show_call(one.call) for one in found]),
            Column("next run", [_minutes(one.next_run_at) for one in found]),
            Column("in", [format_age(max(one.next_run_at - now, 0)) for one in found], right=True, spare=2),
            Column("last run", ["-" if at is None else _minutes(at) for at in last], spare=1),
        ],
        'No schedules. Add one: hitl schedule add nightly "0 2 * * *" --workflow report',
        as_json=as_json,
    )


@app.command()
def remove(
    ctx: AsPerson, id: Annotated[str, argument("NAME", "Name of the schedule.", complete=_complete_schedule)]
) -> None:
    """Remove a schedule. Runs that it has started continue."""
    with ctx.opened(Schedules) as (schedules, _):
        schedules.remove(id)
    print(f"schedule {id} removed")


def _minutes(ms: int) -> str:
    """Return an instant to the minute, which is the precision of cron."""
    return local_minute(ms)
