"""A run of a workflow: the protocol requests that start and cancel it, and how its promise is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from hitl_cli import defaults
from hitl_cli.client.failure import Failure, failure_in
from hitl_cli.client.protocol import ProtocolRequest
from hitl_cli.client.records import settling
from hitl_cli.client.tags import CHECKPOINT_PREFIX, LOG_PREFIX, TARGET_TAG, lineage
from hitl_cli.client.wire import Call, Json, Promise, decode, encode
from hitl_cli.errors import BadName
from hitl_cli.requests.question import outcome_of, question_of
from hitl_cli.tracing import caller_headers

if TYPE_CHECKING:
    from hitl_cli.engine.records import Value


type RunState = Literal["running", "waiting", "completed", "failed", "canceled", "expired"]

type RunKind = Literal["run", "request", "step"]

type EndState = RunState | Literal["rejected"]
"""The final state of a run, or of a standalone request, which a person or the deadline can reject."""

type GroupName = Annotated[str, Meta(pattern=r"^[^\s/@:]{1,200}(?!\s)$")]
"""The name of a group of workers. Clients that may only start runs cannot give an address: the server would
post to it."""

ENDED: dict[str, RunState] = {
    "resolved": "completed",
    "rejected": "failed",
    "rejected_canceled": "canceled",
    "rejected_timedout": "expired",
}
"""The state of a run whose promise is settled, by the promise's state."""

SHOWN = 200
"""Most characters of a call's arguments in a message."""


class RunSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run to start: a line of `hitl start --stdin`, or one command line.

    `args` is sent unchanged: a list, or for a function in Rust the single argument itself.
    """

    id: str
    workflow: str = defaults.WORKFLOW
    args: Json | UnsetType = UNSET
    kwargs: dict[str, Json] = {}

    def call(self) -> Call:
        """Return the function call. Without arguments it gets the run's id."""
        return call_of(self.workflow, self.args, self.kwargs, self.id)


class Run(Struct, frozen=True, kw_only=True):
    """A run and its state. Instants are ms since the epoch; `result` is what the function returned.

    `requests` are the ids of the requests that it is waiting for. `kind` is not `run` for a standalone
    request and for a step, which are shown and waited for in the same way. `error` says why the run did not
    complete; `failure` says where, if a function failed. `group` is the group of workers of a run, None for a
    run at another address.
    """

    id: str
    function: str | None
    state: EndState
    created_at: int
    deadline: int
    settled_at: int | None = None
    waits_for: tuple[str, ...] = ()
    requests: tuple[str, ...] = ()
    result: Json = None
    error: str | None = None
    failure: Failure | None = None
    kind: RunKind = "run"
    group: str | None = None

    @property
    def ended(self) -> bool:
        """Whether it is settled, so that its state and result are final."""
        return self.state not in ("running", "waiting")

    @property
    def ending(self) -> str:
        """The state in a sentence, after the name: `failed`."""
        return f"was {self.state}" if self.state in ("canceled", "rejected") else self.state


class Started(Struct, frozen=True, kw_only=True):
    """A run, and whether this call created it or found it."""

    run: Run
    created: bool


class Canceled(Struct, frozen=True, kw_only=True):
    """A canceled run, and whether this call canceled it or an earlier one."""

    run: Run
    fresh: bool


def call_of(workflow: str, args: Json | UnsetType, kwargs: dict[str, Json], id: str) -> Call:
    """Return a function call. Without arguments it gets the id."""
    return Call(func=workflow, args=([] if kwargs else [id]) if args is UNSET else args, kwargs=kwargs)


def given_args(args: Json) -> Json | UnsetType:
    """Return the `args` of a JSON document; null means the same as no `args`."""
    return UNSET if args is None else args


def check_id(id: str) -> str:
    """Return the id if a run can have it (resonate/ids.py, validate_root_id). Raises BadName."""
    if not id or id != id.strip() or not id.isprintable():
        why = "has spaces around it" if id.strip() != id else "has invisible characters" if id else "is empty"
        raise BadName(f"{id!r} is not a valid id: it {why}.")
    if ":" in id:
        raise BadName(f"{id!r} is not a valid id: ':' separates a run from its steps.")
    if id.startswith((LOG_PREFIX, CHECKPOINT_PREFIX)):
        raise BadName(f"{id!r} is not a valid id: this prefix is reserved for the log of decisions.")
    return id


def create_request(
    spec: RunSpec, group: str, timeout_at: int, mark: str, by: str | None = None
) -> ProtocolRequest:
    """Return the promise.create that starts a run, with the tags that the SDK's own `rpc` gives it.

    Two headers are added: `hitl:start` identifies this call, so that the caller knows whether the promise is
    new; `hitl:by` is the person who started the run, which `allow_self=False` needs (docs/reference/wire.md).
    """
    tags = {TARGET_TAG: address_of(group)} | lineage(spec.id, scope="global")
    headers = {"hitl:start": mark} | ({"hitl:by": by} if by else {}) | caller_headers()
    param = encode(msgspec.to_builtins(spec.call()), headers)
    return ProtocolRequest(
        "promise.create", {"id": spec.id, "timeoutAt": timeout_at, "param": param, "tags": tags}
    )


def address_of(group: str) -> str:
    """Return the address of any worker of a group; an address is returned unchanged."""
    return group if "://" in group else f"poll://any@{group}"


def group_of(address: str) -> str | None:
    """Return the group of workers in an address; None for another address."""
    prefix = address_of("")
    return address.removeprefix(prefix).partition("/")[0] if address.startswith(prefix) else None


def show_call(call: Call | None) -> str:
    """Return a call as `approval("hitl-001")`, shortened for a message."""
    if call is None:
        return "a promise that is not a workflow"
    args = call.args if isinstance(call.args, list) else [call.args]
    shown = [msgspec.json.encode(arg).decode() for arg in args]
    shown += [f"{name}={msgspec.json.encode(value).decode()}" for name, value in call.kwargs.items()]
    text = ", ".join(shown)
    return f"{call.func}({text if len(text) <= SHOWN else text[:SHOWN] + '…'})"


def run_of(promise: Promise) -> Run:
    """Return the run of a promise. While it is pending its state is `running`; `detailed` finds out more."""
    kind: RunKind = "run" if promise.is_run else "request" if promise.is_blocking else "step"
    outcome = outcome_of(promise) if kind == "request" else None
    state: EndState = ENDED.get(promise.state, "running")
    if outcome is not None:
        state = "completed" if outcome == "approved" else outcome
    return Run(
        id=promise.id,
        function=promise.function,
        state=state,
        created_at=promise.created_at,
        deadline=promise.timeout_at,
        settled_at=promise.settled_at,
        result=_result_of(promise) if state == "completed" else None,
        error=error_text(promise) if state in ("failed", "rejected", "canceled", "expired") else None,
        failure=failure_in(promise.value) if state == "failed" else None,
        kind=kind,
        group=group_of(promise.tags.get(TARGET_TAG, "")) if kind == "run" else None,
    )


def _result_of(promise: Promise) -> Json:
    """Return the result of a function, or the data of an approval, also by the deadline."""
    question = None if promise.state == "resolved" else question_of(promise)
    if question is None:
        return decode(promise.value)
    from hitl_cli.requests.decision import decision_by_deadline

    return decision_by_deadline(promise.id, question, promise.timeout_at).data


def error_text(promise: Promise) -> str:
    """Return why a run did not complete."""
    return "its deadline passed" if promise.state == "rejected_timedout" else failure_in(promise.value).text


def cancel_request(id: str, value: Value) -> ProtocolRequest:
    """Return the request that cancels one promise."""
    return settling(id, "rejected_canceled", value)
