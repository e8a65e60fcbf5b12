"""Suspends and ends durable functions that have asyncio tasks of their own, or unfinished steps.

The SDK raises `Suspended` in the asyncio task that awaits something pending (resonate/context.py). That is
right in the function's own task. In a task that the function created (`asyncio.gather`, `TaskGroup`, `wait`)
it would look like the end of that task, so there the await continues instead. Once no task of the function
can continue, the function is canceled and suspends as a whole.

The SDK ends a function only when everything that it created has settled. Here a function ends without waiting
for promises that it no longer awaits. A call of `TAKE_BACK` (hitl_cli/notify/taking_back.py), created before
the function is settled, cancels that afterwards.
"""

from __future__ import annotations

import asyncio
import asyncio.locks
import asyncio.queues
import asyncio.taskgroups
import asyncio.tasks
import gc
import inspect
import logging
import time
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from resonate import context as sdk_context
from resonate.context import Context, ResonateFuture
from resonate.error import PlatformError, Suspended
from resonate.types import PromiseCreateReq, Value

from hitl_cli.client.tags import REQUEST_TAG, TAKE_BACK, TAKE_BACK_SEGMENT, TARGET_TAG, lineage
from hitl_cli.client.wire import Call, child_id, is_blocking
from hitl_cli.errors import BadInput, NotAwaited
from hitl_cli.sdk import context as sdk
from hitl_cli.sdk.failures import note_raised

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterator
    from contextvars import Context as ContextVars
    from types import CodeType

    from resonate.durable import DurableFunction
    from resonate.retry import RetryPolicy

PATIENCE_S = 3.0
"""How long a function may continue with work that is not a step, such as a download, while a task waits.

Such work may also be a wait for the task itself that is not visible as one, as with `asyncio.shield`.
"""

LOOK_AGAIN_S = 0.05
"""How often to check whether such a task has ended."""

TURNS = 10
"""Turns of the event loop before the check: the end of a task passes one nested gather per turn."""

TAKE_BACK_LIFE_MS = 30 * 86_400_000
"""How long hitl tries to cancel what a function left pending."""

TIMEOUTS = frozenset(
    {
        "Timeout._on_timeout",  # asyncio.timeout and wait_for
        "_release_waiter",  # asyncio.wait
        "as_completed.<locals>._on_timeout",
        "_AsCompletedIterator._handle_timeout",  # as_completed, from Python 3.13 on
        "CancelScope._timeout",  # anyio
    }
)
"""The callbacks of timers that end an await."""

INTERRUPTING = frozenset({"Timeout._on_timeout", "CancelScope._timeout"})
"""Those that end any await of the task. The others end only that of their own function."""

_NOT_AUTHORS = (str(Path(sdk_context.__file__).parent), str(Path(__file__).parent))
"""Folders of code whose asyncio tasks do not belong to the current function."""

_WRAPPERS = ("async_generator_asend", "async_generator_athrow", "anext_awaitable", "coroutine_wrapper")
"""What `async for`, `anext`, an `asynccontextmanager` and many `__await__` await: types with no name."""

_ANYIO = str(Path("anyio", "_backends", "_asyncio.py"))
_ANYIO_LOCKS = ("Lock.acquire", "Semaphore.acquire")

_SIGNAL_FILES = {module.__file__ for module in (asyncio.locks, asyncio.queues)}
_WAIT: CodeType = asyncio.tasks._wait.__code__  # type: ignore[attr-defined]
_NEXT_COMPLETED = "_wait_for_one"
"""The function of asyncio.tasks that waits in a queue for the next task of `as_completed`."""
_GATHERING: type = asyncio.tasks._GatheringFuture  # type: ignore[attr-defined]

logger = logging.getLogger(__name__)

_invoke = Context.invoke_with_retry
_await = ResonateFuture.__await__


class _Function:
    """One attempt at a durable function. Most have no asyncio tasks of their own."""

    __slots__ = ("concurrency", "jobs", "main", "over", "run", "stuck", "suspended")

    def __init__(self, run: object) -> None:
        self.main = asyncio.current_task()
        self.run = run
        """The same object for all functions of an attempt at a run."""
        self.stuck = False
        """Whether it can only go on if another run sets what its tasks wait for."""
        self.jobs: set[asyncio.Future[Any]] = set()
        """What it runs in threads of an executor."""
        self.over = False
        self.suspended = False
        self.concurrency: _Concurrency | None = None

    def close(self) -> _Concurrency | None:
        """Mark it as ended, and return the record of its tasks and timeouts.

        The reference to its asyncio task is dropped, because the task's context refers back to it.
        """
        concurrency, self.over, self.concurrency, self.main = self.concurrency, True, None, None
        _executing.discard(self)
        if concurrency is not None:
            concurrency.close()
        return concurrency

    def concurrent(self) -> _Concurrency:
        """Return the record of its tasks and timeouts."""
        if self.concurrency is None:
            self.concurrency = _Concurrency(self)
        return self.concurrency


_current: ContextVar[_Function | None] = ContextVar("function")
"""The durable function that is being executed."""


_executing: set[_Function] = set()
"""The functions that are being executed in this process; in tests, by workers in several threads."""

suspending: ContextVar[list[Suspended]] = ContextVar("suspending")
"""The exceptions that suspended the functions of the running task. The frames in their tracebacks refer to
the run. Dropping the tracebacks frees the run's memory at once, without the garbage collector
(sdk/replay.py). """


class _Concurrency:
    """The asyncio tasks that a function created, its timeouts, and what they wait for."""

    def __init__(self, function: _Function) -> None:
        self._function = function
        self._main = function.main
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._waiting: set[asyncio.Task[Any]] = set()
        self._parked: set[asyncio.Task[Any]] = set()
        """The waiting tasks whose await only an event outside the process can end."""
        self._timeouts: list[tuple[asyncio.TimerHandle, str, asyncio.Task[Any] | None]] = []
        self._again: asyncio.TimerHandle | None = None
        self._cancellations = 0
        self._turns = 0
        """Turns of the event loop until the next check whether any task can go on; 0 if none is due."""
        self._patient_until: float | None = None
        self.left: set[str] = set()
        """The steps and promises that are being awaited."""
        self.stopped: BaseException | None = None
        """The exception with which the function ends, if it was canceled from here."""

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Record a task that the function created."""
        self._tasks.add(task)
        task.add_done_callback(self._gone)

    def note_timeout(self, timer: asyncio.TimerHandle, name: str) -> None:
        """Record a timer that will end an await, and the name of what it calls."""
        now = self._loop.time()
        self._timeouts = [each for each in self._timeouts if not each[0].cancelled() and each[0].when() > now]
        self._timeouts.append((timer, name, asyncio.current_task()))

    async def result(self, future: ResonateFuture[Any]) -> Any:
        """Return the result of a step or a promise. Canceling the awaiting task does not affect it."""
        me = asyncio.current_task()
        assert me is not None
        self._waiting.add(me)
        self._patient_until, self._function.stuck = None, False
        self.left.add(future._id)
        try:
            await asyncio.wait((future._task,))
            if future._task.cancelled() or not isinstance(future._task.exception(), Suspended):
                self.left.discard(future._id)
                return future._task.result()
            self._refuse_timeouts(me)
            if self.stopped is not None or not self._tasks:
                self._function.suspended = True
                raise Suspended
            self._parked.add(me)
            self._look_soon()
            await self._loop.create_future()  # it waits until the function is canceled
        finally:
            self._parked.discard(me)
            self._waiting.discard(me)
            if self._parked or self.stopped:  # the task that continues now may be the last one that can
                self._look_soon()

    def close(self) -> None:
        """End its tasks that await something durable, because the function has ended.

        If it suspends, all end: it creates them again. But tasks of a connection may serve other runs, too.
        """
        if self._main is not None:
            for _ in range(self._cancellations):
                self._main.uncancel()
        forgotten = self._tasks if self.stopped is not None and not self._is_connected() else set()
        for task in self._waiting | forgotten:
            task.cancel()

    # Whether any of its tasks can continue

    def _look_soon(self, _task: object = None) -> None:
        if not self._turns and not self._function.over:
            self._loop.call_soon(self._turn)
        self._turns = TURNS

    def _turn(self) -> None:
        self._turns -= 1
        if self._turns:
            self._loop.call_soon(self._turn)
        else:
            self._look()

    def _look(self) -> None:
        """Cancel the function if none of its tasks can continue; again if it caught the cancellation."""
        main = self._main
        if self._function.over or main is None or not (self._parked or self.stopped):
            return
        if len(self._parked) < len(self._waiting):
            return  # one of them awaits a running step, which checks again afterwards
        others = [task for task in (main, *self._tasks) if task not in self._parked]
        if any(_is_ready(task) for task in others):
            self._look_soon()
        else:
            if not self._let_go_on(others):
                self._stop(main)
            if self._again is None:
                self._again = self._loop.call_later(LOOK_AGAIN_S, self._look_again)

    def _look_again(self) -> None:
        self._again = None
        self._look_soon()

    def _stop(self, main: asyncio.Task[Any]) -> None:
        if self.stopped is None:
            self.stopped = Suspended()
            try:
                self._refuse_timeouts()
            except BadInput as error:
                self.stopped = error
        self._cancellations += 1
        self._patient_until = None
        main.cancel()

    def _let_go_on(self, others: list[asyncio.Task[Any]]) -> bool:
        """Whether the function still waits for tasks that do something other than steps."""
        now = time.monotonic()
        if self._patient_until is None:
            self._patient_until = now + PATIENCE_S
        busy = [task for task in others if not self._waits_for_tasks(task)]
        if not busy:
            return False
        self._function.stuck = all(map(_waits_for_a_signal, busy)) and not self._is_fed()
        if self._function.stuck and not self._has_neighbours():
            return False
        if self.stopped is not None and not self._function.stuck and any(task.cancelling() for task in busy):
            return True  # it is cleaning up
        return now < self._patient_until

    def _waits_for_others(self, task: asyncio.Task[Any]) -> bool:
        """Whether a task visibly waits for other tasks of the function; then it continues when they do."""
        if self._waits_for_tasks(task):
            return True
        return _waits_for_a_signal(task) and not self._is_fed() and not self._has_neighbours()

    def _waits_for_tasks(self, task: asyncio.Task[Any]) -> bool:
        """Whether a task awaits other tasks of the function, or a group of tasks."""
        awaited = task._fut_waiter  # type: ignore[attr-defined]
        return awaited in self._tasks if isinstance(awaited, asyncio.Task) else _waits_for_several(task)

    def _has_neighbours(self) -> bool:
        """Whether another run is executed, which may hold the lock or the connection that this waits for."""
        run = self._function.run
        return any(other.run is not run and not other.stuck for other in tuple(_executing))

    def _is_fed(self) -> bool:
        """Whether a thread, a connection or a timer may set an event of the function, or fill a queue.

        Libraries of network protocols wait for events that they set when they receive something.
        """
        return bool(self._function.jobs) or self._is_connected() or self._has_timer()

    def _is_connected(self) -> bool:
        """Whether the event loop reads or writes for a connection that the function opened."""
        selector = getattr(self._loop, "_selector", None)
        handles = (handle for key in selector.get_map().values() for handle in key.data) if selector else ()
        return any(handle is not None and self._is_own(handle) for handle in handles)

    def _has_timer(self) -> bool:
        """Whether a timer of the function, as of `call_later`, is due before it suspends."""
        end = self._loop.time() + PATIENCE_S
        return any(
            timer.when() < end
            and not timer.cancelled()
            and timer is not self._again
            and self._is_own(timer)
            and _name(timer._callback) not in TIMEOUTS
            for timer in getattr(self._loop, "_scheduled", ())
        )

    def _is_own(self, handle: asyncio.Handle) -> bool:
        return handle.get_context().get(_current) is self._function

    def _gone(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._look_soon()

    def _refuse_timeouts(self, of: asyncio.Task[Any] | None = None) -> None:
        """Raise BadInput if a timeout of the task `of`, or of any waiting task, would end a durable wait."""
        now = self._loop.time()
        for timer, name, task in self._timeouts:
            if timer.cancelled() or timer.when() <= now or task is None:
                continue
            if (task is of and name in INTERRUPTING) or (of is None and self._waits_for_others(task)):
                raise BadInput(
                    "a timeout of asyncio cannot end the wait for a person, a promise, a call or a pause: no"
                    " process waits meanwhile. Use ask(..., deadline=) or ctx.promise(timeout=) instead.",
                    code="timeout-around-wait",
                )


def install(loop: asyncio.AbstractEventLoop) -> None:
    """Make the durable functions of this process suspend and end as described above.

    If the loop has a task factory, it must call `adopt`, or `adopted_at_start` for an eager task.
    """
    Context.invoke_with_retry = _invoke_function  # type: ignore[assignment, method-assign]
    ResonateFuture.__await__ = _await_result  # type: ignore[assignment, method-assign]
    if loop.get_task_factory() is None:
        loop.set_task_factory(_adopted)
    call_at = loop.call_at

    def noting(
        when: float, callback: Callable[..., object], *args: Any, context: ContextVars | None = None
    ) -> asyncio.TimerHandle:
        timer = call_at(when, callback, *args, context=context)
        function = _current.get(None)
        if function is not None and not function.over and (name := _name(callback)) in TIMEOUTS:
            function.concurrent().note_timeout(timer, name)
        return timer

    run_in_executor = loop.run_in_executor

    def run(executor: Any, call: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        job = run_in_executor(executor, call, *args)
        function = _current.get(None)
        if function is not None and not function.over:
            function.jobs.add(job)
            job.add_done_callback(function.jobs.discard)
        return job

    loop.call_at = noting  # type: ignore[assignment, method-assign]
    loop.run_in_executor = run  # type: ignore[assignment, method-assign]
    if loop.get_exception_handler() is None:
        loop.set_exception_handler(_report)


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error that nobody retrieved, except the cancellation of a `gather` that is not awaited yet."""
    if not isinstance(context.get("exception"), asyncio.CancelledError):
        loop.default_exception_handler(context)


def _adopted(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any
) -> asyncio.Task[Any]:
    if options.get("eager_start", False):
        return asyncio.Task(adopted_at_start(coro), loop=loop, **options)
    task = asyncio.Task(coro, loop=loop, **options)
    adopt(task, coro)
    return task


async def adopted_at_start[T](coro: Coroutine[Any, Any, T]) -> T:
    """Record the current task, which runs before `create_task` returns it (`eager_start`), and await this."""
    task = asyncio.current_task()
    assert task is not None
    adopt(task, coro)
    return await coro


def adopt(task: asyncio.Task[Any], coro: Coroutine[Any, Any, Any]) -> None:
    """Record a new asyncio task, if a durable function created it itself and not the SDK."""
    function = _current.get(None)
    if function is None or function.over:
        return
    code = getattr(coro, "cr_code", None)
    if code is None or not code.co_filename.startswith(_NOT_AUTHORS):
        function.concurrent().adopt(task)


@contextmanager
def outside_of_functions() -> Iterator[None]:
    """Make a connection that is opened in the block one of the worker, and not of the current function."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


def end_if_over() -> None:
    """Raise CancelledError in a task of a function that has ended: it can no longer ask or await."""
    function = _current.get(None)
    if function is not None and function.over:
        raise asyncio.CancelledError("the function that this is a task of has ended")


@wraps(ResonateFuture.__await__)
def _await_result(future: ResonateFuture[Any]) -> Generator[Any, None, Any]:
    """Await a step or a promise: `ResonateFuture.__await__`."""
    function = _current.get(None)
    if function is None:
        return _await(future)
    if function.over:
        end_if_over()
    if function.concurrency is None:
        return _await_in(function, future)
    return function.concurrency.result(future).__await__()


def _await_in(function: _Function, future: ResonateFuture[Any]) -> Generator[Any, None, Any]:
    """Await a step or a promise in a function without tasks, and record if that suspends it."""
    try:
        return (yield from _await(future))
    except Suspended as signal:
        function.suspended = True
        note_signal(signal)
        raise


def note_signal(signal: Suspended) -> None:
    """Record what suspends a function or ends its task, so that its traceback is dropped at the end."""
    if (signals := suspending.get(None)) is not None:
        signals.append(signal)


@wraps(Context.invoke_with_retry)
async def _invoke_function(
    ctx: Context, df: DurableFunction, payload: Any, policy: RetryPolicy, *, coerce_args: bool = True
) -> Any:
    """Execute a function to its end, or until it suspends: `Context.invoke_with_retry`."""
    function = _Function(ctx._state.effects)
    _current.set(function)
    _executing.add(function)
    try:
        result = await _invoke(ctx, df, payload, policy, coerce_args=coerce_args)
        if hasattr(type(result), "__await__"):
            raise NotAwaited(f"{df.name} returned what it did not await: write `return await ...`.")  # noqa: TRY301
    except Suspended:
        function.close()
        raise
    except BaseException as raised:
        if isinstance(raised, Exception | PlatformError):
            note_raised(raised)
        other = _ended_with(function, raised)
        function.close()
        if isinstance(other or raised, Exception | SystemExit) and _is_unsettled(ctx):
            await _leave(ctx, None)
        if other is None:
            raise
        raise other from None
    concurrency = function.close()
    if concurrency is not None and concurrency.stopped is not None:  # the function ignored the cancellation
        raise concurrency.stopped
    if function.suspended:  # it caught what suspends it
        raise Suspended
    if _is_unsettled(ctx):
        await _leave(ctx, concurrency.left if concurrency is not None else set())
    return result


def _ended_with(function: _Function, raised: BaseException) -> BaseException | None:
    """Return the exception to end a function with, in place of the one that it raised; None to keep that."""
    if isinstance(raised, BaseExceptionGroup):
        for kind in (PlatformError, Suspended):
            if (signal := _leaf(raised, kind)) is not None:
                return signal
    stopped = function.concurrency.stopped if function.concurrency is not None else None
    if isinstance(raised, PlatformError):
        return None
    if stopped is None and function.suspended:  # it caught what suspends it
        stopped = Suspended()
    if stopped is None and isinstance(raised, asyncio.CancelledError) and not _is_canceled(function.main):
        stopped = RuntimeError("asyncio.CancelledError: what it awaited was canceled, and not the run")
    if stopped is None:
        return None
    if isinstance(stopped, Suspended):
        note_signal(stopped)
    return stopped.with_traceback(raised.__traceback__)  # it has the line of the await


def _is_canceled(task: asyncio.Task[Any] | None) -> bool:
    """Whether a task was canceled, by the SDK or by a worker that stops."""
    return task is not None and task.cancelling() > 0


def _leaf(group: BaseExceptionGroup[BaseException], kind: type[BaseException]) -> BaseException | None:
    """Return the first exception of a kind in a group of groups."""
    found: BaseException | None = group.subgroup(kind)
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


# Unfinished steps of a function


def _is_unsettled(ctx: Context) -> bool:
    """Whether a function that has ended has running steps or pending promises."""
    state = ctx._state
    if state.spawned_remote:
        return True
    for local in state.spawned_locals:
        if not local.handle.done():
            return True
    for task in state.spawned_remote_tasks:
        if not task.done():
            return True
    return _has_forgotten(ctx)


def _has_forgotten(ctx: Context) -> bool:
    """Whether a run still has an open request that its changed code has not reached this time."""
    state = ctx._state
    if state.parent_id != state.id:
        return False
    for promise in getattr(state.effects, "cache", {}).values():
        if promise.state == "pending" and is_blocking(promise.tags):
            return True
    return False


async def _leave(ctx: Context, left: set[str] | None) -> None:
    """Stop waiting for pending promises below an ended function, unless the SDK must wait for them.

    `left` are promises that were awaited and no longer are; None means all, because the function failed. The
    SDK waits for calls that the function never awaited, but not for answers that it did not await.
    """
    state = ctx._state
    await ctx.flush_local_work()
    waited_for = {todo: _child_of(state.id, todo) for todo in state.spawned_remote}
    children = set(waited_for.values())
    if not children and not _has_forgotten(ctx):
        return
    if left is not None:
        questions = {child: todo for todo, child in waited_for.items() if _is_question(ctx, todo, child)}
        if not children <= left | questions.keys():
            return
        for child, request in questions.items():
            if child not in left:
                about = {"request": request}
                logger.warning(
                    "request %s is canceled: its workflow ended without awaiting it", request, extra=about
                )
    target = state.target_resolver(None)
    await state.effects.create_promise(take_back_request(state.id, state.origin_id, target, sdk.now(ctx)))
    state.spawned_remote = []
    _settle_below(ctx, state.id)


def _child_of(function: str, id: str) -> str:
    """Return the direct child of a function that is, or contains, a given promise."""
    beginning = child_id(function, "")
    return beginning + id.removeprefix(beginning).partition(".")[0]


def _is_question(ctx: Context, todo: str, child: str) -> bool:
    """Whether a child of a function is an open request."""
    promise = getattr(ctx._state.effects, "cache", {}).get(todo)
    return todo == sdk.first_id(child) and promise is not None and promise.tags.get(REQUEST_TAG) == "1"


def take_back_request(function: str, origin: str, target: str, now: int) -> PromiseCreateReq:
    """Return the call that cancels everything pending below a function (its id), once that is settled."""
    id = child_id(function, TAKE_BACK_SEGMENT)
    tags = {TARGET_TAG: target} | lineage(id, scope="global", origin=origin, parent=function)
    call = Value(data=msgspec.to_builtins(Call(func=TAKE_BACK)))
    return PromiseCreateReq(id=id, timeout_at=now + TAKE_BACK_LIFE_MS, param=call, tags=tags)


def _settle_below(ctx: Context, id: str) -> None:
    """Mark all promises below a function as settled in the SDK's record, so that nothing delays its end."""
    node = ctx.tree.get(id)
    for child in node.children if node is not None else ():
        ctx.tree.settle(child)
        _settle_below(ctx, child)


# The state of an asyncio task


def _is_ready(task: asyncio.Task[Any]) -> bool:
    """Whether a task is about to run."""
    awaited = task._fut_waiter  # type: ignore[attr-defined]
    return awaited is None or awaited.done()


def _waits_for_several(task: asyncio.Task[Any]) -> bool:
    """Whether a task awaits a group of other tasks."""
    if isinstance(task._fut_waiter, _GATHERING):  # type: ignore[attr-defined]
        return True
    codes = _awaited_in(task)
    if any(code.co_name == _NEXT_COMPLETED and code.co_filename == _WAIT.co_filename for code in codes):
        return True
    code = codes[-1] if codes else None
    return code is not None and (
        code is _WAIT
        or code.co_filename == asyncio.taskgroups.__file__
        or (code.co_filename.endswith(_ANYIO) and code.co_qualname == "TaskGroup.__aexit__")
    )


def _waits_for_a_signal(task: asyncio.Task[Any]) -> bool:
    """Whether a task waits for a lock, an event, a condition or a queue of asyncio or anyio."""
    codes = _awaited_in(task)
    code = codes[-1] if codes else None
    return code is not None and (
        code.co_filename in _SIGNAL_FILES
        or (code.co_filename.endswith(_ANYIO) and code.co_qualname in _ANYIO_LOCKS)
    )


def _awaited_in(task: asyncio.Task[Any]) -> list[CodeType]:
    """Return the code that waits in a task: of its coroutine, of what that awaits, and so on.

    It is empty for a coroutine that is not of Python.
    """
    codes: list[CodeType] = []
    awaits: object = task.get_coro()
    while True:
        if inspect.iscoroutine(awaits):
            codes.append(awaits.cr_code)
            awaits = awaits.cr_await
        elif inspect.isasyncgen(awaits):
            codes.append(awaits.ag_code)
            awaits = awaits.ag_await
        elif inspect.isgenerator(awaits):
            codes.append(awaits.gi_code)
            awaits = awaits.gi_yieldfrom
        elif type(awaits).__name__ in _WRAPPERS:  # they tell what they wrap only to the garbage collector
            awaits = next(filter(_is_followed, gc.get_referents(awaits)), None)
        else:
            return codes


def _is_followed(awaits: object) -> bool:
    return inspect.iscoroutine(awaits) or inspect.isasyncgen(awaits) or type(awaits).__name__ in _WRAPPERS


def _name(callback: object) -> str:
    """Return the name of what a timer calls."""
    return getattr(callback, "__qualname__", "")
