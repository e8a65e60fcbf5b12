"""A run of a workflow: how it is started and canceled on the wire, and what its promise says of it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from hitl_cli import defaults
from hitl_cli.client.failure import Failure, failure_in
from hitl_cli.client.protocol import ProtocolRequest
from hitl_cli.client.tags import TARGET_TAG, lineage
from hitl_cli.client.wire import Call, Json, Promise, decode, encode
from hitl_cli.errors import BadName

type RunState = Literal["running", "waiting", "completed", "failed", "canceled", "expired"]

type GroupName = Annotated[str, Meta(pattern=r"^[^\s/@:]{1,200}(?!\s)$")]
"""The name of a group of workers, from a client that may only start runs: an address would have the server
post there."""

ENDED: dict[str, RunState] = {
    "resolved": "completed",
    "rejected": "failed",
    "rejected_canceled": "canceled",
    "rejected_timedout": "expired",
}
"""The state of a run whose promise is settled, by the promise's state."""

SHOWN = 200
"""Characters of a call's arguments that a sentence shows."""


class RunSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run to start: a line of `hitl start --stdin`, or one command line.

    `args` is what the promise says, exactly: a list, or for a function in Rust the one argument itself.
    """

    id: str
    workflow: str = defaults.WORKFLOW
    args: Json | UnsetType = UNSET
    kwargs: dict[str, Json] = {}

    def call(self) -> Call:
        """Return the function call; a run that is given no arguments is given its id."""
        return call_of(self.workflow, self.args, self.kwargs, self.id)


class Run(Struct, frozen=True, kw_only=True):
    """A run and how it stands. Instants are ms since the epoch; `result` is what it returned.

    `requests` are the ids of the requests that it waits for. `is_workflow` is false for a question without a
    workflow, and for a step: they are shown and waited for the same way. `error` says why it did not
    complete; where a function failed, `failure` says where.
    """

    id: str
    function: str | None
    state: RunState
    created_at: int
    deadline: int
    settled_at: int | None = None
    waits_for: tuple[str, ...] = ()
    requests: tuple[str, ...] = ()
    result: Json = None
    error: str | None = None
    failure: Failure | None = None
    is_workflow: bool = True

    @property
    def ended(self) -> bool:
        """Whether it is settled: neither state nor result will change."""
        return self.state not in ("running", "waiting")


class Started(Struct, frozen=True, kw_only=True):
    """A run, and whether this call created it or found it."""

    run: Run
    created: bool


class Canceled(Struct, frozen=True, kw_only=True):
    """A canceled run, and whether this call canceled it or an earlier one."""

    run: Run
    fresh: bool


def call_of(workflow: str, args: Json | UnsetType, kwargs: dict[str, Json], id: str) -> Call:
    """Return a function call; one that is given no arguments is given the id."""
    return Call(func=workflow, args=([] if kwargs else [id]) if args is UNSET else args, kwargs=kwargs)


def given_args(args: Json) -> Json | UnsetType:
    """Return the `args` of a JSON document, where null, as no `args`, means that none are given."""
    return UNSET if args is None else args


def check_id(id: str) -> str:
    """Return the id if a run can have it (resonate/ids.py, validate_root_id). Raises BadInput."""
    if not id or id != id.strip() or not id.isprintable():
        raise BadName(f"{id!r} cannot be a workflow id: it must have characters, and none that is invisible.")
    if ":" in id:
        raise BadName(f"{id!r} cannot be a workflow id: ':' separates a workflow from its steps.")
    return id


def create_request(
    spec: RunSpec, group: str, timeout_at: int, mark: str, by: str | None = None
) -> ProtocolRequest:
    """Return the promise.create that starts a run, with the tags that the SDK's own `rpc` gives it.

    The headers are ours: by `hitl:start` the caller knows whether the promise is the one it created, and
    `hitl:by` says who started it, which a request of its can hold against them (docs/reference/wire.md).
    """
    tags = {TARGET_TAG: address_of(group)} | lineage(spec.id, scope="global")
    headers = {"hitl:start": mark} | ({"hitl:by": by} if by else {})
    param = encode(msgspec.to_builtins(spec.call()), headers)
    return ProtocolRequest(
        "promise.create", {"id": spec.id, "timeoutAt": timeout_at, "param": param, "tags": tags}
    )


def address_of(group: str) -> str:
    """Return the address of any worker of a group; what is an address already stays as it is."""
    return group if "://" in group else f"poll://any@{group}"


def show_call(call: Call | None) -> str:
    """Return a call as `approval("hitl-001")`, cut to fit a sentence."""
    if call is None:
        return "a promise that is no workflow"
    args = call.args if isinstance(call.args, list) else [call.args]
    shown = [msgspec.json.encode(arg).decode() for arg in args]
    shown += [f"{name}={msgspec.json.encode(value).decode()}" for name, value in call.kwargs.items()]
    text = ", ".join(shown)
    return f"{call.func}({text if len(text) <= SHOWN else text[:SHOWN] + '…'})"


def run_of(promise: Promise) -> Run:
    """Return a run as its promise alone shows it; while it is pending, that is `running`."""
    state = ENDED.get(promise.state, "running")
    return Run(
        id=promise.id,
        function=promise.function,
        state=state,
        created_at=promise.created_at,
        deadline=promise.timeout_at,
        settled_at=promise.settled_at,
        result=decode(promise.value) if state == "completed" else None,
        error=error_text(promise) if state in ("failed", "canceled", "expired") else None,
        failure=failure_in(promise.value) if state == "failed" else None,
        is_workflow=promise.is_run,
    )


def error_text(promise: Promise) -> str:
    """Return why a run did not complete."""
    return "its deadline passed" if promise.state == "rejected_timedout" else failure_in(promise.value).text


def cancel_request(id: str, value: object) -> ProtocolRequest:
    """Return the request that cancels one promise."""
    return ProtocolRequest("promise.settle", {"id": id, "state": "rejected_canceled", "value": value})
