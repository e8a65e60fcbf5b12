"""What a worker is doing, seen from what it asks of the server: the events it reports.

Nothing in a workflow has to report anything. `Watched` stands between the SDK and its network and
reads the few requests that mark the life of a run.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from hitl_cli.wire import Promise, error_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from resonate_base import Network

logger = logging.getLogger(__name__)

type EventKind = Literal["started", "resumed", "waiting", "completed", "failed", "unknown"]

ACQUIRE = '{"kind":"task.acquire"'
FENCE = '{"kind":"task.fence"'
SUSPEND = '{"kind":"task.suspend"'
FULFILL = '{"kind":"task.fulfill"'
RELEASE = '{"kind":"task.release"'
"""How the SDK's requests begin (resonate/send.py, Envelope). What begins otherwise is not looked at."""

OK = 200


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

    async def start(self) -> None:
        """Start the network."""
        await self._network.start()

    async def stop(self) -> None:
        """Stop the network."""
        await self._network.stop()

    async def send(self, req: str, headers: dict[str, str] | None = None) -> str:
        """Pass a request on, and look at it and its answer."""
        answer = await self._network.send(req, headers)
        try:
            self._look(req, answer)
        except msgspec.MsgspecError as error:
            # Another server may answer in a shape that is new to us: the report suffers, the run must not.
            logger.debug("an answer was not understood: %s", error)
        return answer

    def _look(self, req: str, answer: str) -> None:
        if req.startswith(FENCE):
            if '"resonate:external"' in req:
                self._created(answer)
        elif req.startswith(ACQUIRE):
            self._acquired(req, answer)
        elif req.startswith(SUSPEND):
            self._suspended(req, answer)
        elif req.startswith(FULFILL):
            self._fulfilled(answer)
        elif req.startswith(RELEASE):
            self._not_held(_ref.decode(req).data.id)

    def _created(self, answer: str) -> None:
        if status(answer) == OK:
            promise = _fenced.decode(answer).data.action.data.promise
            if promise.state == "pending" and promise.is_blocking:
                self._blocking.add(promise.id)

    def _acquired(self, req: str, answer: str) -> None:
        if status(answer) != OK:
            self._not_held(_ref.decode(req).data.id)
            return
        held = _held.decode(answer).data
        call = held.promise.call
        if call is None:
            return
        self._functions[held.promise.id] = call.func
        self._blocking.update(p.id for p in held.preload if p.state == "pending" and p.is_blocking)
        self._say("started" if held.task.version == 1 else "resumed", held.promise.id)

    def _suspended(self, req: str, answer: str) -> None:
        if status(answer) != OK:
            return
        data = _suspend.decode(req).data
        people = tuple(awaited for a in data.actions if (awaited := a.data.awaited) in self._blocking)
        self._blocking.difference_update(people)
        if people:
            self._say("waiting", data.id, promises=people)
        self._functions.pop(data.id, None)

    def _fulfilled(self, answer: str) -> None:
        if status(answer) != OK:
            return
        promise = _settled.decode(answer).data.promise
        if promise.state == "resolved":
            self._say("completed", promise.id)
        else:
            self._say("failed", promise.id, reason=error_message(promise.value))
        self._functions.pop(promise.id, None)

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


def status(answer: str) -> int:
    """Return the status of an answer."""
    return _status.decode(answer).head.status
