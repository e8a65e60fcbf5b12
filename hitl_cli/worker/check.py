"""`hitl worker --check`: finds pending requests that the current code would ask differently."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from functools import partial
from itertools import batched
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from hitl_cli.authoring.changed_question import replaced_value
from hitl_cli.authoring.loaded_code import LoadedCode, loaded_code
from hitl_cli.builtin import WORKFLOWS
from hitl_cli.client.connect import connect
from hitl_cli.client.pool import ClientPool
from hitl_cli.client.protocol import search, search_many
from hitl_cli.client.tags import ORIGIN_TAG, TARGET_TAG, belongs_to_notification
from hitl_cli.client.wire import child_id
from hitl_cli.inbox.pending import blocking_pages
from hitl_cli.requests.question import WORKFLOW_TAG, prompt_of, question_of
from hitl_cli.runs.run import address_of, cancel_request
from hitl_cli.sdk import suspension
from hitl_cli.sdk.rehearsal import Rehearsed, rehearse
from hitl_cli.sdk.resonate_client import Registering
from hitl_cli.worker.loader import load_app
from hitl_cli.worker.run import register_workflows

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from types import ModuleType

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from hitl_cli.worker.run import WorkerOptions

type Change = Literal["asked-anew", "taken-back", "fails", "not-checked"]

AT_ONCE = 50
"""Runs whose promises are read in one batch."""


class ChangedRequest(Struct, frozen=True, kw_only=True):
    """A request that the current code asks differently.

    `now` is the new prompt, `by` the id of the new request, `why` the reason that the run fails.
    `not-checked` is a request in or after a function that `ctx.run` calls, because such functions are not run
    here.
    """

    change: Change
    run: str
    id: str
    waits: bool
    asked: str | None
    now: str | None = None
    why: str | None = None
    by: str | None = None


def take_back_changed(
    client: Client, options: WorkerOptions, modules: Sequence[tuple[str, ModuleType]], code: LoadedCode
) -> None:
    """Revoke pending requests that these modules ask differently. Their runs resume, and ask anew.

    Runs are rehearsed only if a pending request was asked by other code.
    """
    own = {code.of(module.__name__).digest for _, module in modules}
    if not any(_is_foreign(promise, own) for page in blocking_pages(client) for promise in page):
        return
    with contextlib.redirect_stdout(sys.stderr):
        changed = _changes(client, options, modules)
    now = client.now()
    requests = [
        cancel_request(one.id, replaced_value(one.by, code.of(modules[0][1].__name__), now))
        for one in changed
        if one.change == "asked-anew" and one.waits and one.by
    ]
    for some in batched(requests, AT_ONCE):
        client.call_many(list(some))


def _is_foreign(promise: Promise, own: set[str]) -> bool:
    """Whether a request was asked by code that is not in these apps."""
    question = question_of(promise)
    code = None if question is None else question.code
    return code is not None and code.digest not in own and promise.tags.get(WORKFLOW_TAG) not in WORKFLOWS


def check(options: WorkerOptions) -> list[ChangedRequest]:
    """Return the requests of waiting runs that the apps ask differently. Nothing is changed.

    What the apps print is sent to stderr. Raises BadInput, Unreachable.
    """
    modules = [(app, load_app(app)) for app in options.apps]
    with connect(options.server, options.token) as client, contextlib.redirect_stdout(sys.stderr):
        return _changes(client, options, modules)


def _changes(
    client: Client, options: WorkerOptions, modules: Sequence[tuple[str, ModuleType]]
) -> list[ChangedRequest]:
    """Return the requests that the modules ask differently."""
    now = client.now()
    resonate = Registering(group=options.group, clock=lambda: now, env={}, autostart=False)
    resonate.with_dependency(options.reach)
    code = loaded_code(module for _, module in modules)
    resonate.with_dependency(code)
    resonate.know_code(code.of)
    register_workflows(resonate, modules)
    pool = ClientPool(partial(connect, options.server, options.token), threads=1)
    resonate.with_dependency(pool)  # what the settings add to a request depends on its run
    with contextlib.closing(pool):
        return [
            changed
            for some in batched(_waiting(client, options.group, resonate), AT_ONCE)
            for root, below, came in asyncio.run(_rehearsed(resonate, some, now))
            for request in _requests_of(root, below, came.calls)
            if (changed := _changed(root, request, came)) is not None
        ]


async def _rehearsed(
    resonate: Registering, runs: Sequence[tuple[Promise, list[Promise]]], now: int
) -> list[tuple[Promise, list[Promise], Rehearsed]]:
    """Return what each run would do now."""
    suspension.install(asyncio.get_running_loop())
    return [(root, below, await rehearse(resonate, root, below, now)) for root, below in runs]


def _changed(root: Promise, request: Promise, came: Rehearsed) -> ChangedRequest | None:
    """Return what would happen to a request; None if it stays unchanged."""
    put = [(id, data) for id, data in came.put.items() if isinstance(data, dict) and not data.get("refused")]
    by, now = next(
        ((id, data["prompt"]) for id, data in put if data.get("replaces") == request.id), (None, None)
    )
    waits = request.state == "pending"
    called_otherwise = any(request.id.startswith(child_id(id, "")) for id in came.calls)
    change: Change
    if now is not None:
        change = "asked-anew"
    elif came.failed and (waits or request.id in came.failed or called_otherwise):
        change = "fails"
    elif called_otherwise:
        change = "asked-anew"
    elif waits and request.id not in came.seen:
        change = "not-checked" if came.broken_off else "taken-back"
    else:
        return None
    why = came.failed if change == "fails" else None
    asked = prompt_of(request)
    return ChangedRequest(
        change=change, run=root.id, id=request.id, waits=waits, asked=asked, now=now, why=why, by=by
    )


def _waiting(client: Client, group: str, resonate: Registering) -> Iterator[tuple[Promise, list[Promise]]]:
    """Yield each unfinished call of the apps' functions with requests, and the promises below it."""
    roots = [
        promise
        for promise in search(client, state="pending", tags={TARGET_TAG: address_of(group)})
        if (call := promise.call) is not None and (call.func, call.version) in resonate.served
    ]
    for some in batched(roots, AT_ONCE):
        lineages = search_many(client, [{ORIGIN_TAG: root.origin} for root in some])
        for root, lineage in zip(some, lineages, strict=True):
            below = [each for each in lineage if each.id.startswith(child_id(root.id, ""))]
            calls = [each.id for each in below if each.is_call]
            if next(_requests_of(root, below, calls), None) is not None:
                yield root, below


def _requests_of(root: Promise, below: Sequence[Promise], changed: Collection[str] = ()) -> Iterator[Promise]:
    """Yield the requests that a call made itself, and those of other functions' calls that have `changed`."""
    calls = [each.id for each in below if each.is_call and each.id not in {root.id, *changed}]
    for promise in below:
        of_another = any(promise.id.startswith(child_id(id, "")) for id in calls)
        if promise.is_blocking and not of_another and not belongs_to_notification(promise.id):
            yield promise
