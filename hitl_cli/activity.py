"""What a worker is doing, seen from what it asks of the server: the events it reports.

Nothing in a workflow has to report anything. `Watched` stands between the SDK and its network and
reads the few requests that mark the life of a run.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct
from resonate.error import PlatformError, SerializationError
from resonate_base import PROTOCOL_VERSION

from hitl_cli.wire import Promise, error_message, error_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from resonate_base import Network

logger = logging.getLogger(__name__)

type EventKind = Literal["started", "resumed", "waiting", "completed", "failed", "lost", "unknown"]

ACQUIRE = '{"kind":"task.acquire"'
FENCE = '{"kind":"task.fence"'
SUSPEND = '{"kind":"task.suspend"'
FULFILL = '{"kind":"task.fulfill"'
RELEASE = '{"kind":"task.release"'
"""How the SDK's requests begin (resonate/send.py, Envelope). What begins otherwise is not looked at."""

RELEASED = "instead-of-release"
"""The correlation id of a request of our own."""

OK = 200
CONFLICT = 409

LONGEST_PAUSE_S = 60.0
"""How long a task that fails here time after time is held back before it is given back once more."""


class Event(Struct, frozen=True, omit_defaults=True):
    """One thing that happened to a run. `at` is ms since the epoch."""

    event: EventKind
    workflow: str
    at: int
    function: str | None = None
    promises: tuple[str, ...] = ()
    reason: str | None = None


class _Ref(Struct, frozen=True):
    id: str
    version: int


class _Request(Struct, frozen=True):
    head: dict[str, str]


class _RefRequest(Struct, frozen=True):
    data: _Ref


class _Awaited(Struct, frozen=True):
    awaited: str


class _Action(Struct, frozen=True):
    data: _Awaited


class _Suspend(Struct, frozen=True):
    id: str
    actions: list[_Action]


class _SuspendRequest(Struct, frozen=True):
    data: _Suspend


class _Head(Struct, frozen=True):
    status: int


class _Status(Struct, frozen=True):
    head: _Head


class _TaskVersion(Struct, frozen=True):
    version: int


class _Held(Struct, frozen=True):
    task: _TaskVersion
    promise: Promise
    preload: list[Promise] = []


class _HeldAnswer(Struct, frozen=True):
    data: _Held


class _PromiseData(Struct, frozen=True):
    promise: Promise


class _PromiseAnswer(Struct, frozen=True):
    data: _PromiseData


class _FenceAction(Struct, frozen=True):
    data: _PromiseData


class _FenceData(Struct, frozen=True):
    action: _FenceAction


class _FenceAnswer(Struct, frozen=True):
    data: _FenceData


_ref = msgspec.json.Decoder(_RefRequest)
_suspend = msgspec.json.Decoder(_SuspendRequest)
_status = msgspec.json.Decoder(_Status)
_held = msgspec.json.Decoder(_HeldAnswer)
_settled = msgspec.json.Decoder(_PromiseAnswer)
_fenced = msgspec.json.Decoder(_FenceAnswer)


class Watched:
    """A network that reports what passes through it."""

    def __init__(
        self,
        network: Network,
        report: Callable[[Event], None],
        not_held: Callable[[str], None],
        clock: Callable[[], int],
    ) -> None:
        """`report` is told of events, `not_held` of tasks that were refused or given back."""
        self._network = network
        self._report = report
        self._not_held = not_held
        self._clock = clock
        self._functions: dict[str, str] = {}
        self._blocking: set[str] = set()
        self._given_back: dict[str, int] = {}

    async def start(self) -> None:
        """Start the network."""
        await self._network.start()

    async def stop(self) -> None:
        """Stop the network."""
        await self._network.stop()

    async def send(self, req: str, headers: dict[str, str] | None = None) -> str:
        """Pass a request on, and look at it and its answer."""
        if req.startswith(RELEASE):
            return await self._release(req, headers, sys.exception())
        answer = await self._network.send(req, headers)
        self._look(req, answer)
        return answer

    async def _release(self, req: str, headers: dict[str, str] | None, error: BaseException | None) -> str:
        """Give a task back that failed in the SDK's own hands, and not for ever at once.

        The server offers it again in the same moment. So it is held back a little longer each time,
        and where no worker could do better the run is failed instead.
        """
        ref = _ref.decode(req).data
        if error is not None and (reason := hopeless(error)) is not None:
            instead = fail_request(ref.id, ref.version, reason)
            self._look(instead, await self._network.send(instead, headers))
            self._not_held(ref.id)
            return as_answer_to(req)
        times = self._given_back.get(ref.id, 0)
        self._given_back[ref.id] = times + 1
        if times:
            await asyncio.sleep(min(2.0**times / 2, LONGEST_PAUSE_S))
        answer = await self._network.send(req, headers)
        self._not_held(ref.id)
        self._forget(ref.id)
        return answer

    def _forget(self, id: str) -> None:
        self._functions.pop(id, None)

    def _look(self, req: str, answer: str) -> None:
        try:
            self._read(req, answer)
        except msgspec.MsgspecError as error:
            # Another server may answer in a shape that is new to us: the report suffers, the run must not.
            logger.debug("an answer was not understood: %s", error)

    def _read(self, req: str, answer: str) -> None:
        if not req.startswith((ACQUIRE, FENCE, SUSPEND, FULFILL)):
            return
        code = status(answer)
        if code == OK:
            self._done(req, answer)
        elif req.startswith(ACQUIRE):
            self._not_held(_ref.decode(req).data.id)
        elif code == CONFLICT:
            self._lost(_ref.decode(req).data.id)

    def _done(self, req: str, answer: str) -> None:
        if req.startswith(FENCE):
            if '"resonate:external"' in req:
                self._created(answer)
        elif req.startswith(ACQUIRE):
            self._acquired(answer)
        elif req.startswith(SUSPEND):
            self._suspended(req)
        else:
            self._fulfilled(answer)

    def _lost(self, id: str) -> None:
        """Say once that a task is no longer ours: canceled, expired, or taken over."""
        if id in self._functions:
            self._say("lost", id)
            self._forget(id)

    def _created(self, answer: str) -> None:
        promise = _fenced.decode(answer).data.action.data.promise
        if promise.state == "pending" and promise.is_blocking:
            self._blocking.add(promise.id)

    def _acquired(self, answer: str) -> None:
        held = _held.decode(answer).data
        call = held.promise.call
        if call is None:
            return
        self._functions[held.promise.id] = call.func
        self._blocking.update(p.id for p in held.preload if p.state == "pending" and p.is_blocking)
        self._say("started" if held.task.version == 1 else "resumed", held.promise.id)

    def _suspended(self, req: str) -> None:
        data = _suspend.decode(req).data
        people = tuple(awaited for a in data.actions if (awaited := a.data.awaited) in self._blocking)
        self._blocking.difference_update(people)
        if people:
            self._say("waiting", data.id, promises=people)
        self._forget(data.id)
        self._given_back.pop(data.id, None)

    def _fulfilled(self, answer: str) -> None:
        promise = _settled.decode(answer).data.promise
        if promise.state == "resolved":
            self._say("completed", promise.id)
        else:
            self._say("failed", promise.id, reason=error_message(promise.value))
        self._forget(promise.id)
        self._given_back.pop(promise.id, None)

    def _say(
        self,
        kind: EventKind,
        id: str,
        *,
        promises: tuple[str, ...] = (),
        reason: str | None = None,
    ) -> None:
        self._report(
            Event(
                event=kind,
                workflow=id,
                at=self._clock(),
                function=self._functions.get(id),
                promises=promises,
                reason=reason,
            )
        )


def hopeless(error: BaseException) -> str | None:
    """Return why no worker can do what failed, or None where another one, or a later time, may.

    What a step or a workflow returned could not be written down: it would not be the next time either.
    """
    cause = error.cause if isinstance(error, PlatformError) else error
    return f"the result cannot be kept: {cause}" if isinstance(cause, SerializationError) else None


def fail_request(id: str, version: int, reason: str) -> str:
    """Return the request that ends a run with an error."""
    head = {"corrId": RELEASED, "version": PROTOCOL_VERSION}
    settle = {"id": id, "state": "rejected", "value": error_value(reason)}
    action = {"kind": "promise.settle", "head": head, "data": settle}
    data = {"id": id, "version": version, "action": action}
    return msgspec.json.encode({"kind": "task.fulfill", "head": head, "data": data}).decode()


def as_answer_to(req: str) -> str:
    """Return the answer that the SDK expects to its request, now that it needs none."""
    head = msgspec.json.decode(req, type=_Request).head
    answer = {"kind": "task.release", "head": {**head, "status": OK}, "data": {}}
    return msgspec.json.encode(answer).decode()


def status(answer: str) -> int:
    """Return the status of an answer."""
    return _status.decode(answer).head.status
