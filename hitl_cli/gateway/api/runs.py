"""Runs: start, list, show, cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

from msgspec import Meta, Struct

from hitl_cli.client.wire import Json
from hitl_cli.errors import NotFound
from hitl_cli.format.durations import parse_duration
from hitl_cli.gateway.api.requests import Cursor, Duration, Limit, Name
from hitl_cli.gateway.api.route import Call, Route, paged
from hitl_cli.gateway.error_responses import json_answer
from hitl_cli.runs import Runs
from hitl_cli.runs.run import GroupName, RunSpec, RunState, given_args
from hitl_cli.views.runs import (
    RunDocument,
    RunsPage,
    RunWithSteps,
    WorkflowList,
    run_document,
    run_with_steps,
    workflow_document,
)

if TYPE_CHECKING:
    from aiohttp import web

    from hitl_cli.client.protocol import Client
    from hitl_cli.runs.run import Run


class RunsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which runs to list."""

    state: RunState | None = None
    limit: Limit = 100
    cursor: Cursor | None = None


class StartBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run to start. Without arguments, the workflow gets the run's id. `deadline` is a duration.

    `args` is a list; for a workflow in Rust it is the single argument itself.
    """

    id: str
    workflow: Name | None = None
    args: Json = None
    kwargs: dict[str, Json] = {}
    group: GroupName | None = None
    deadline: Duration = "365d"


class CancelBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The reason to cancel a run."""

    reason: Annotated[str, Meta(max_length=10_000)] | None = None


async def _list_runs(call: Call) -> web.Response:
    """Return runs."""
    query: RunsQuery = call.query

    def look(client: Client) -> RunsPage:
        found, following = _runs(client, call).page(state=query.state, limit=query.limit, after=query.cursor)
        return RunsPage([run_document(run, client.now()) for run in found], following)

    return paged(call, await call.gateway.bridge.run(look))


async def _start(call: Call) -> web.Response:
    """Start a run, or return the existing one. Responds 201 if this request started it."""
    body: StartBody = call.body
    options = call.gateway.options
    mark = await call.mark(f"start {body.id}")
    spec = RunSpec(
        id=body.id,
        workflow=body.workflow or options.workflow,
        args=given_args(body.args),
        kwargs=body.kwargs,
    )
    group, deadline_ms = body.group or options.group, parse_duration(body.deadline)

    def do(client: Client) -> tuple[RunDocument, bool]:
        started = _runs(client, call).start(spec, group=group, deadline_ms=deadline_ms, mark=mark)
        return run_document(started.run, client.now()), started.created

    document, created = await call.gateway.bridge.run(do)
    headers = {"Location": f"/api/v1/runs/{quote(spec.id, safe='')}"}
    return json_answer(document, 201 if created else 200, headers)


async def _show(call: Call) -> web.Response:
    """Return a run and what it is waiting for."""

    def look(client: Client) -> RunDocument:
        return run_document(_checked(_runs(client, call).show(call.id), call.id), client.now())

    return json_answer(await call.gateway.bridge.run(look))


async def _workflows(call: Call) -> web.Response:
    """Return the workflows that workers serve, and those of the newest runs."""

    def look(client: Client) -> WorkflowList:
        return WorkflowList([workflow_document(one) for one in _runs(client, call).workflows()])

    return json_answer(await call.gateway.bridge.run(look))


async def _steps(call: Call) -> web.Response:
    """Return a run and all its steps."""

    def look(client: Client) -> RunWithSteps:
        tree = _runs(client, call).steps(call.id)
        return run_with_steps(_checked(tree.run, call.id), tree.root.children, client.now())

    return json_answer(await call.gateway.bridge.run(look))


async def _cancel(call: Call) -> web.Response:
    """Cancel a run and its open requests."""

    def do(client: Client) -> RunDocument:
        runs = _runs(client, call)
        _checked(runs.to_cancel(call.id), call.id)
        return run_document(runs.cancel(call.id, call.body.reason).run, client.now())

    return json_answer(await call.gateway.bridge.run(do))


def _runs(client: Client, call: Call) -> Runs:
    """Return the runs for the visitor."""
    return Runs(client, call.visitor.actor)


def _checked(run: Run, id: str) -> Run:
    """Return a run. Raises NotFound if the id is of a step or a request."""
    if run.id != id or run.kind != "run":
        raise NotFound(f"{id} is not a run.")
    return run


TABLE = [
    Route(
        method="GET",
        path="/api/v1/workflows",
        handle=_workflows,
        needs=("read",),
        summary="List known workflows.",
        answers={200: WorkflowList},
    ),
    Route(
        method="GET",
        path="/api/v1/runs",
        handle=_list_runs,
        needs=("read",),
        summary="List runs, newest first.",
        query=RunsQuery,
        answers={200: RunsPage},
    ),
    Route(
        method="POST",
        path="/api/v1/runs",
        handle=_start,
        needs=("start",),
        summary="Start a run. Repeating the same id and call returns the existing run.",
        body=StartBody,
        answers={200: RunDocument, 201: RunDocument},
        repeatable=True,
    ),
    Route(
        method="GET",
        path="/api/v1/runs/{id}",
        handle=_show,
        needs=("read", "start"),
        summary="Get a run: its state, what it is waiting for, its result.",
        answers={200: RunDocument},
    ),
    Route(
        method="GET",
        path="/api/v1/runs/{id}/steps",
        handle=_steps,
        needs=("read", "start"),
        summary="Get a run with all its steps.",
        answers={200: RunWithSteps},
    ),
    Route(
        method="POST",
        path="/api/v1/runs/{id}/cancel",
        handle=_cancel,
        needs=("start",),
        summary="Cancel a run and its open requests.",
        body=CancelBody,
        answers={200: RunDocument},
    ),
]
