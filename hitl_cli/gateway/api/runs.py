"""Runs: start, list, show, cancel."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from aiohttp import web
from msgspec import Meta, Struct

from hitl_cli.client.wire import Json
from hitl_cli.errors import NotFound
from hitl_cli.format.durations import parse_duration
from hitl_cli.gateway.api.requests import Cursor, Duration, Limit, Name
from hitl_cli.gateway.api.route import Call, Routes
from hitl_cli.gateway.error_responses import json_answer
from hitl_cli.inbox import Inbox
from hitl_cli.runs import Runs
from hitl_cli.runs.run import GroupName, Run, RunSpec, RunState, given_args
from hitl_cli.views.runs import (
    RunDocument,
    RunsPage,
    RunWithSteps,
    WorkflowList,
    run_document,
    run_with_steps,
    workflow_document,
)

routes = Routes()


class RunsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which runs to list."""

    state: RunState | None = None
    limit: Limit = 100
    cursor: Cursor | None = None


class StartBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run to start. Without arguments, the workflow gets the run's id. `deadline` is a duration.

    `args` is a list; for a workflow in Rust it is the single argument itself.
    """

    id: Annotated[str, Meta(description="The id of the run.")]
    workflow: Annotated[Name | None, Meta(description="Default: the workflow in the settings.")] = None
    args: Annotated[Json, Meta(description="The arguments, a list. Default: the id of the run.")] = None
    kwargs: Annotated[dict[str, Json], Meta(description="Arguments by name.")] = {}
    group: Annotated[GroupName | None, Meta(description="The group of workers.")] = None
    deadline: Duration = "365d"


class CancelBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The reason to cancel a run."""

    reason: Annotated[str, Meta(max_length=10_000)] | None = None


@routes.get("/runs", "List runs, newest first.", needs=("read",))
def _list_runs(call: Call[RunsQuery, None], inbox: Inbox) -> RunsPage:
    """Return runs."""
    query = call.query
    found, following = _runs(call, inbox).page(state=query.state, limit=query.limit, after=query.cursor)
    return RunsPage([run_document(run, inbox.client.now()) for run in found], following)


@routes.post(
    "/runs",
    "Start a run. Repeating the same id and call returns the existing run.",
    needs=("start",),
    answers={200: RunDocument, 201: RunDocument},
    repeatable=True,
)
def _start(call: Call[None, StartBody], inbox: Inbox) -> web.Response:
    """Start a run, or return the existing one. Responds 201 if this request started it."""
    body = call.body
    options = call.gateway.options
    mark = call.mark(f"start {body.id}")
    spec = RunSpec(
        id=body.id,
        workflow=body.workflow or options.workflow,
        args=given_args(body.args),
        kwargs=body.kwargs,
    )
    group, deadline_ms = body.group or options.group, parse_duration(body.deadline)
    started = _runs(call, inbox).start(spec, group=group, deadline_ms=deadline_ms, mark=mark)
    headers = {"Location": f"/api/v1/runs/{quote(spec.id, safe='')}"}
    document = run_document(started.run, inbox.client.now())
    return json_answer(document, 201 if started.created else 200, headers)


@routes.get(
    "/runs/{id}", "Get a run: its state, what it is waiting for, its result.", needs=("read", "start")
)
def _show(call: Call[None, None], inbox: Inbox) -> RunDocument:
    """Return a run and what it is waiting for."""
    return run_document(_checked(_runs(call, inbox).show(call.id), call.id), inbox.client.now())


@routes.get("/workflows", "List known workflows.", needs=("read",))
def _workflows(call: Call[None, None], inbox: Inbox) -> WorkflowList:
    """Return the workflows that workers serve, and those of the newest runs."""
    return WorkflowList([workflow_document(one) for one in _runs(call, inbox).workflows()])


@routes.get("/runs/{id}/steps", "Get a run with all its steps.", needs=("read", "start"))
def _steps(call: Call[None, None], inbox: Inbox) -> RunWithSteps:
    """Return a run and all its steps."""
    tree = _runs(call, inbox).steps(call.id)
    return run_with_steps(_checked(tree.run, call.id), tree.root.children, inbox.client.now())


@routes.post("/runs/{id}/cancel", "Cancel a run and its open requests.", needs=("start",))
def _cancel(call: Call[None, CancelBody], inbox: Inbox) -> RunDocument:
    """Cancel a run and its open requests."""
    runs = _runs(call, inbox)
    _checked(runs.to_cancel(call.id), call.id)
    return run_document(runs.cancel(call.id, call.body.reason).run, inbox.client.now())


def _runs(call: Call[Any, Any], inbox: Inbox) -> Runs:
    """Return the runs for the visitor."""
    return Runs(inbox.client, call.visitor.actor)


def _checked(run: Run, id: str) -> Run:
    """Return a run. Raises NotFound if the id is of a step or a request."""
    if run.id != id or run.kind != "run":
        raise NotFound(f"{id} is not a run.")
    return run
