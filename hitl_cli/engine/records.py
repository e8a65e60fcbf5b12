"""The data on the wire and in the store, as validated Structs.

Names and shapes are the protocol's (resonatehq/resonate-specification, spec/01-protocol/types.lean)
and what resonate-sdk 0.8 and @resonatehq/sdk 0.11 send. All instants are milliseconds since the
Unix epoch, all durations milliseconds.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

PROTOCOL_VERSION = "2026-04-01"

ID_MAX = 4096
"""Characters of an id; what a schedule's template makes must fit too."""

type PromiseState = Literal["pending", "resolved", "rejected", "rejected_canceled", "rejected_timedout"]
type TaskState = Literal["pending", "acquired", "suspended", "halted", "fulfilled"]
type CatchUp = Literal["last", "all"]
type Id = Annotated[str, Meta(min_length=1, max_length=ID_MAX, pattern=r"^[^\x00]*$")]
type Millis = Annotated[int, Meta(ge=0, le=2**62)]
type Instant = Millis | Annotated[float, Meta(ge=0, le=2**62)]
"""A deadline or a timeout on the wire. The npm SDK can send fractions."""
type Version = Annotated[int, Meta(ge=0, le=2**53)]
type PageSize = Annotated[int, Meta(ge=1, le=10_000)]


class Value(Struct, frozen=True, omit_defaults=True):
    """A payload: `data` is opaque text (the SDKs put base64 of JSON there)."""

    headers: dict[str, str] | None = None
    data: str | None = None


VALUE_MAX = 4 * 1024 * 1024
"""Bytes of a param or a value. A run that resumes reads all of its own, and a page of a list has 100."""


class Payload(Protocol):
    """A payload, ours or the SDK's."""

    @property
    def headers(self) -> dict[str, str] | None:
        """Texts by name."""

    @property
    def data(self) -> Any:
        """Opaque text; None for none."""


def size_of(value: Payload | None) -> int:
    """Return the number of bytes of a payload: its data and its headers."""
    if value is None:
        return 0
    size = 0 if value.data is None else _bytes_of(value.data)
    if value.headers:
        for name, text in value.headers.items():
            size += _bytes_of(name) + _bytes_of(text)
    return size


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


class _Wire(Struct, frozen=True, kw_only=True, rename="camel"):
    """A request's data, with the wire's names."""


class Single(_Wire, frozen=True):
    """A request about one promise, task or schedule, which may need nothing but its id."""

    id: Id


class TaskRef(Single, frozen=True):
    """A task at a version: all of a request that releases it."""

    version: Version


class _Search(_Wire, frozen=True):
    """The parameters of every search. Their order and additions are in docs/explanation/protocol.md."""

    tags: dict[str, str] | None = None
    id_prefix: str | None = None
    limit: PageSize | None = None
    cursor: str | None = None


class PromiseCreate(Single, frozen=True):
    """Create a promise unless its id is taken."""

    timeout_at: Instant
    param: Value | None = None
    tags: dict[str, str] | None = None


class PromiseSettle(Single, frozen=True):
    """Settle a pending promise; a settled one does not change."""

    state: PromiseState
    value: Value | None = None


class PromiseRegisterCallback(_Wire, frozen=True):
    """Resume `awaiter`'s task when `awaited` settles."""

    awaited: Id
    awaiter: Id


class PromiseRegisterListener(_Wire, frozen=True):
    """Send `address` a message when `awaited` settles."""

    awaited: Id
    address: str


class PromiseSearch(_Search, frozen=True):
    """List promises."""

    state: PromiseState | None = None
    root: bool = False
    after: str | None = None
    """The id of a promise: as `cursor`, the place of that promise in the order of creation."""
    settled_since: Millis | None = None
    sort: Literal["created", "-created", "id", "-settled"] = "created"


class CreateAction(Struct, frozen=True, tag_field="kind", tag="promise.create"):
    """A promise.create inside another request."""

    data: PromiseCreate


class SettleAction(Struct, frozen=True, tag_field="kind", tag="promise.settle"):
    """A promise.settle inside another request."""

    data: PromiseSettle


class CallbackAction(Struct, frozen=True, tag_field="kind", tag="promise.register_callback"):
    """A promise.register_callback inside another request."""

    data: PromiseRegisterCallback


class TaskCreate(_Wire, frozen=True):
    """Create a promise and acquire its task."""

    pid: str
    ttl: Millis
    action: CreateAction


class TaskAcquire(TaskRef, frozen=True):
    """Acquire a pending task with a lease of `ttl`."""

    pid: str
    ttl: Millis


class TaskFence(TaskRef, frozen=True):
    """Create or settle a promise, if the task is still held at this version."""

    action: CreateAction | SettleAction


class TaskHeartbeat(_Wire, frozen=True):
    """Renew the leases of tasks that `pid` holds."""

    pid: str
    tasks: list[TaskRef]


class TaskSuspend(TaskRef, frozen=True):
    """Suspend a task until one of the awaited promises settles."""

    actions: list[CallbackAction]


class TaskFulfill(TaskRef, frozen=True):
    """Settle the task's own promise and end the task."""

    action: SettleAction


class TaskSearch(_Search, frozen=True):
    """List tasks."""

    state: TaskState | None = None
    sort: Literal["created", "-created", "id"] = "created"


class ScheduleCreate(Single, frozen=True):
    """Create a schedule unless its id is taken. `catch_up`: which missed occurrences are fired."""

    cron: str
    promise_id: Id
    promise_timeout: Instant
    promise_param: Value | None = None
    promise_tags: dict[str, str] | None = None
    catch_up: CatchUp = "last"


class ScheduleSearch(_Search, frozen=True):
    """List schedules in the order of their ids."""


ASKS_CAPABILITIES = "Hitl-Capabilities"
"""The HTTP header that asks a server for its additions to the protocol (docs/explanation/protocol.md)."""


class RequestHead(Struct, frozen=True, rename={"corr_id": "corrId", "debug_time": "resonate:debug_time"}):
    """The head of a request. `debug_time` is used only if debugging is allowed."""

    corr_id: str = ""
    debug_time: Millis | None = None


class Request(Struct, frozen=True):
    """A request's envelope; `data` is decoded by the kind."""

    kind: str
    head: RequestHead = RequestHead()
    data: Raw = Raw(b"{}")


class PromiseRecord(_Wire, frozen=True, omit_defaults=True):
    """A promise in wire format."""

    id: str
    state: PromiseState
    param: Raw
    value: Raw
    tags: Raw
    timeout_at: int
    created_at: int
    settled_at: int | None = None


class TaskRecord(_Wire, frozen=True, omit_defaults=True):
    """A task in wire format."""

    id: str
    state: TaskState
    version: int
    resumes: int
    ttl: int | None = None
    pid: str | None = None


class _ScheduleRecord(_Wire, frozen=True, omit_defaults=True):
    """A schedule in wire format."""

    id: str
    cron: str
    promise_id: str
    promise_timeout: int
    promise_param: Raw
    promise_tags: Raw
    created_at: int
    next_run_at: int
    catch_up: CatchUp
    last_run_at: int | None = None


class PromiseData(Struct, frozen=True):
    """The data of a response with one promise."""

    promise: PromiseRecord


class TaskData(Struct, frozen=True):
    """The data of a response with one task."""

    task: TaskRecord


class HeldData(Struct, frozen=True):
    """The data of a response with an acquired task."""

    task: TaskRecord
    promise: PromiseRecord
    preload: list[PromiseRecord]


class PreloadData(Struct, frozen=True):
    """The data of task.suspend."""

    preload: list[PromiseRecord]


class FenceData(Struct, frozen=True):
    """The data of task.fence: the inner response, with a head of its own."""

    action: Response
    preload: list[PromiseRecord]


class PromisesData(Struct, frozen=True, omit_defaults=True):
    """The data of promise.search."""

    promises: list[PromiseRecord]
    cursor: str | None = None


class TasksData(Struct, frozen=True, omit_defaults=True):
    """The data of task.search."""

    tasks: list[TaskRecord]
    cursor: str | None = None


class ScheduleData(Struct, frozen=True):
    """The data of a response with one schedule."""

    schedule: _ScheduleRecord


class SchedulesData(Struct, frozen=True, omit_defaults=True):
    """The data of schedule.search."""

    schedules: list[_ScheduleRecord]
    cursor: str | None = None


class _NoData(Struct, frozen=True):
    """The data of a response without data."""


class ResponseHead(Struct, frozen=True, rename="camel"):
    """The head of a response. `status` is an HTTP status code."""

    corr_id: str
    status: int
    version: str = PROTOCOL_VERSION
    capabilities: tuple[str, ...] | UnsetType = UNSET
    """The server's additions to the protocol; only if the client asks for them."""


class Response(Struct, frozen=True):
    """A response's envelope; the data of an error is its message."""

    kind: str
    head: ResponseHead
    data: Any


class Reply(Struct, frozen=True):
    """The result of a rule: a status and the data, or a message if the status is an error."""

    status: int
    data: Any = _NoData()


class MessageHead(Struct, frozen=True, rename="camel"):
    """The head of a message."""

    version: str = PROTOCOL_VERSION
    server_url: str | UnsetType = UNSET
    """The server's URL, which the receiver of a posted message may not know."""


class ExecuteData(Struct, frozen=True):
    """A task on offer."""

    task: TaskRef


class ExecuteMessage(Struct, frozen=True, tag_field="kind", tag="execute"):
    """Tells a worker that a task can be acquired."""

    data: ExecuteData
    head: MessageHead = MessageHead()


class UnblockMessage(Struct, frozen=True, tag_field="kind", tag="unblock"):
    """Tells a listener that a promise settled."""

    data: PromiseData
    head: MessageHead = MessageHead()


class Promise(Struct, frozen=True):
    """A promise in the store; `param`, `value` and `tags` are JSON texts."""

    seq: int
    id: str
    state: PromiseState
    param: str
    value: str
    tags: str
    timeout_at: int
    created_at: int
    settled_at: int | None
    target: str | None
    timer: bool
    external: bool
    open: bool
    root: bool
    owner: int | None

    def record(self) -> PromiseRecord:
        """Return it in wire format."""
        return PromiseRecord(
            id=self.id,
            state=self.state,
            param=Raw(self.param),
            value=Raw(self.value),
            tags=Raw(self.tags),
            timeout_at=self.timeout_at,
            created_at=self.created_at,
            settled_at=self.settled_at,
        )


class Standing(Struct, frozen=True):
    """The state of a task's promise: the part that most requests need."""

    state: PromiseState
    timeout_at: int


class Task(Struct, frozen=True):
    """A task in the store. `due`: pending, its next offer; acquired, its lease's end."""

    seq: int
    state: TaskState
    version: int
    address: str
    pid: str | None
    ttl: int | None
    due: int | None
    resumes: int

    def record(self, id: str) -> TaskRecord:
        """Return it in wire format, with its promise's id."""
        return TaskRecord(
            id=id, state=self.state, version=self.version, resumes=self.resumes, ttl=self.ttl, pid=self.pid
        )


class Schedule(Struct, frozen=True):
    """A schedule in the store; `promise_param` and `promise_tags` are JSON texts."""

    id: str
    cron: str
    promise_id: str
    promise_timeout: int
    promise_param: str
    promise_tags: str
    created_at: int
    next_run_at: int
    last_run_at: int | None
    catch_up: CatchUp

    def record(self) -> _ScheduleRecord:
        """Return it in wire format."""
        texts = {"promise_param": Raw(self.promise_param), "promise_tags": Raw(self.promise_tags)}
        return _ScheduleRecord(**msgspec.structs.asdict(self) | texts)


EMPTY_VALUE = "{}"


def json_text(value: Any) -> str:
    """Return `value` as JSON text."""
    return msgspec.json.encode(value).decode()
