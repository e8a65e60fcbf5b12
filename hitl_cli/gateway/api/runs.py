"""Runs: start, list, look, cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

from msgspec import Meta, Struct

from hitl_cli.client.wire import Json
from hitl_cli.errors import NotFound
from hitl_cli.format.durations import parse_duration
from hitl_cli.gateway.api.requests import Cursor, Duration, Limit, Name
from hitl_cli.gateway.api.route import VIA, Call, Route, paged
from hitl_cli.gateway.error_responses import json_answer
from hitl_cli.inbox.idempotency import start_mark
from hitl_cli.runs import lifecycle
from hitl_cli.runs.lifecycle import GroupName, RunSpec, RunState
from hitl_cli.runs.steps import tree
from hitl_cli.views.runs import RunDocument, RunWithSteps, run_document, run_with_steps

if TYPE_CHECKING:
    from aiohttp import web

    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.idempotency import IdempotencyMark
    from hitl_cli.runs.lifecycle import Run
    from hitl_cli.runs.steps import RunStep


class RunsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which runs to list."""

    state: RunState | None = None
    limit: Limit = 100
    cursor: Cursor | None = None


class RunsPage(Struct, frozen=True):
    """A page of runs, the newest first; `next` is the `cursor` of the next one."""

    items: list[RunDocument]
    next: str | None


class StartBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run to start; one that is given no arguments is given its id. `deadline` is a duration."""

    id: str
    workflow: Name | None = None
    args: list[Json] | None = None
    kwargs: dict[str, Json] = {}
    group: GroupName | None = None
    deadline: Duration = "365d"


class CancelBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a run is canceled."""

    reason: Annotated[str, Meta(max_length=10_000)] | None = None


async def _list_runs(call: Call) -> web.Response:
    """Answer with the runs."""
    query: RunsQuery = call.query

    def look(client: Client) -> tuple[list[RunDocument], str | None]:
        found, following = lifecycle.page_of_runs(
            client, state=query.state, limit=query.limit, after=query.cursor
        )
        return [run_document(run, client.now()) for run in found], following

    found, following = await call.gateway.bridge.run(look)
    return paged(call, found, following)


async def _start(call: Call) -> web.Response:
    """Start a run, or find it: 201 if this request started it."""
    body: StartBody = call.body
    options = call.gateway.options
    mark = await call.mark(f"start {body.id}")
    spec = RunSpec(id=body.id, workflow=body.workflow or options.workflow, args=body.args, kwargs=body.kwargs)
    started, now = await call.gateway.bridge.run(
        _start_once,
        spec,
        mark,
        group=body.group or options.group,
        deadline_ms=parse_duration(body.deadline),
        by=call.visitor.person,
    )
    status = 201 if started.created else 200
    headers = {"Location": f"/api/v1/runs/{quote(spec.id, safe='')}"}
    return json_answer(run_document(started.run, now), status, headers)


def _start_once(
    client: Client, spec: RunSpec, mark: IdempotencyMark | None, *, group: str, deadline_ms: int, by: str
) -> tuple[lifecycle.Started, int]:
    """Start a run, once by the same request. Raises KeyReused, and what `runs.start` raises."""
    lifecycle.check_id(spec.id)
    own = start_mark(client, spec.id, mark)
    started = lifecycle.start(client, spec, group=group, deadline_ms=deadline_ms, by=by, new_id=lambda: own)
    return started, client.now()


async def _show(call: Call) -> web.Response:
    """Answer with a run and what it waits for."""
    run, now = await call.gateway.bridge.run(_run_named, call.id)
    return json_answer(run_document(run, now))


async def _steps(call: Call) -> web.Response:
    """Answer with a run and all its steps."""

    def look(client: Client) -> tuple[Run, RunStep, int]:
        run, now = _run_named(client, call.id)
        return run, tree(client, call.id), now

    run, root, now = await call.gateway.bridge.run(look)
    return json_answer(run_with_steps(run, root.children, now))


def _run_named(client: Client, id: str) -> tuple[Run, int]:
    """Return a run, and the present (ms since the epoch). Raises NotFound."""
    if not lifecycle.known(client, id).is_run:
        raise NotFound(f"{id} is not a workflow.")
    return lifecycle.get_run(client, id), client.now()


async def _cancel(call: Call) -> web.Response:
    """Cancel a run and what it waits for."""

    def do(client: Client) -> tuple[Run, int]:
        _run_named(client, call.id)
        lifecycle.cancel(client, call.id, by=call.visitor.person, via=VIA, reason=call.body.reason)
        return _run_named(client, call.id)

    run, now = await call.gateway.bridge.run(do)
    return json_answer(run_document(run, now))


TABLE = [
    Route(
        method="GET",
        path="/api/v1/runs",
        handle=_list_runs,
        needs="read",
        summary="The runs, the newest first.",
        query=RunsQuery,
        answers={200: RunsPage},
    ),
    Route(
        method="POST",
        path="/api/v1/runs",
        handle=_start,
        needs="start",
        summary="Start a run. The same id and call again finds the same run.",
        body=StartBody,
        answers={200: RunDocument, 201: RunDocument},
        repeatable=True,
    ),
    Route(
        method="GET",
        path="/api/v1/runs/{id}",
        handle=_show,
        needs="read",
        summary="A run: how it stands, what it waits for, what it returned.",
        answers={200: RunDocument},
    ),
    Route(
        method="GET",
        path="/api/v1/runs/{id}/steps",
        handle=_steps,
        needs="read",
        summary="A run with all its steps.",
        answers={200: RunWithSteps},
    ),
    Route(
        method="POST",
        path="/api/v1/runs/{id}/cancel",
        handle=_cancel,
        needs="start",
        summary="Cancel a run and what it waits for.",
        body=CancelBody,
        answers={200: RunDocument},
    ),
]
