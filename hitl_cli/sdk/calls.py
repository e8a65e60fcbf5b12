"""Calls that contain a request: their results are used for the same call only.

The SDK finds a finished call by its number, and returns its result, even if the code now calls something else
there. That may be the answer to another question. So the result of a call that contains a request has a mark,
and on replay the new call's arguments are compared with it. A call without a request has no mark, and is
never compared.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import wraps
from types import FunctionType
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from resonate import context as sdk_context
from resonate.context import Context
from resonate.durable import DurableFunction
from resonate.error import ResonateError
from resonate.types import TaskData

from hitl_cli.client.tags import PARENT_TAG, TAKE_BACK_SEGMENT
from hitl_cli.client.wire import Call, child_id, is_blocking
from hitl_cli.errors import QuestionChanged
from hitl_cli.inspected import inspected
from hitl_cli.sdk.arguments import digests, holds_sets, name_of, texts_now, texts_of
from hitl_cli.sdk.binding import copy_quickly, quickened
from hitl_cli.sdk.context import beside, calling_module, first_id, leave_to_others, named, next_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from resonate.context import ResonateFuture
    from resonate.types import PromiseCreateReq, PromiseRecord

    from hitl_cli.sdk.replay import CheckedEffects

CALL_HEADER = "hitl:call"
"""The mark of a finished step of `ctx.run`: a FinishedCall as JSON, in its value."""

ASKED_HEADER = "hitl:asked"
"""The mark of a finished call of another function, in its value: whether it contains `requests` or
`steps`."""

CODE_HEADER = "hitl:code"
"""The code that called another function: a CallerCode as JSON, in the param of the call."""


class CallerCode(Struct, frozen=True, kw_only=True):
    """The code of a caller (requests/question.py, Code)."""

    digest: str
    hitl: str
    since: int


class FinishedCall(Struct, frozen=True, kw_only=True):
    """A finished call: its function, the digests of its arguments, and the code of the caller.

    `repeatable`: it contains only requests, so it can be called again; `texts` are the digests of the texts
    in the functions that ran for it.
    """

    function: str
    arguments: dict[str, str]
    code: CallerCode
    repeatable: bool
    texts: dict[str, str] = {}

    def changed(self) -> list[str]:
        """Return the functions that would now ask something else, if it can be called again."""
        found = {name: texts_now(name) for name in self.texts} if self.repeatable else {}
        return [name for name, now in found.items() if now not in (None, self.texts[name])]


class RunningStep(Struct):
    """A step of `ctx.run`. `asked` tells whether it contains a request.

    `arguments` are the digests of its arguments, once they are known; `instead` is the finished call that it
    replaces.
    """

    name: str
    effects: Any
    fn: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    module: str
    above: RunningStep | None
    id: str = ""
    asked: bool = False
    arguments: dict[str, str] | None = None
    instead: str | None = None

    def digests(self) -> dict[str, str]:
        """Return the digests of its arguments."""
        if self.arguments is None:
            self.arguments = digests(self.fn, self.args, self.kwargs)
        return self.arguments


running: ContextVar[RunningStep] = ContextVar("running")
"""The step that the running code belongs to; not set in a workflow's own code."""

executed: ContextVar[CheckedEffects] = ContextVar("executed")
"""The durable operations of the task that executes the running code."""

_durables: dict[FunctionType, DurableFunction] = {}

_sdk_run = Context.run
_sdk_rpc = Context.rpc


def compare_calls() -> None:
    """Make `ctx.run` record its step, and make it and `ctx.rpc` compare themselves with finished calls."""
    Context.run = _run  # type: ignore[method-assign,assignment]
    Context.rpc = _rpc  # type: ignore[method-assign,assignment]
    sdk_context.DurableFunction = _durable  # type: ignore[attr-defined,assignment]
    copy_quickly()


def _durable(fn: Any) -> DurableFunction:
    """Return the SDK's durable function, cached because making it takes as long as a step.

    Functions within functions are not cached: each run may make its own.
    """
    if type(fn) is not FunctionType or fn.__closure__ is not None or "<locals>" in fn.__qualname__:
        return DurableFunction(fn)
    known = _durables.get(fn)
    if known is None:
        known = _durables[fn] = quickened(DurableFunction(fn))
    return known


@wraps(_sdk_run)  # type: ignore[arg-type] # overloaded
def _run(ctx: Context, fn: Any, *args: Any, **kwargs: Any) -> ResonateFuture[Any]:
    effects: Any = ctx._state.effects
    module = calling_module()
    step = RunningStep(name_of(fn), effects, fn, args, kwargs, module, running.get(None))
    token = running.set(step)  # the task of the step inherits it
    try:
        if getattr(effects, "compares", False):
            ctx = _place(ctx, effects, step.name, step.digests, module, step)
        future: ResonateFuture[Any] = _sdk_run(ctx, fn, *args, **kwargs)
    finally:
        running.reset(token)
    step.id = future._id
    if _goes_on(effects, future._id):
        step.digests()  # now, because the function may change its arguments
    return future


def _goes_on(effects: Any, id: str) -> bool:
    """Whether a step is executed again after it has created something."""
    cache: dict[str, PromiseRecord] = getattr(effects, "cache", {})
    record = cache.get(id)
    if record is None or record.state != "pending" or id in effects.asks:
        return False
    return any(promise.tags.get(PARENT_TAG) == id for promise in cache.values())


@wraps(_sdk_rpc)
def _rpc(ctx: Context, fn: Any, *args: Any, **kwargs: Any) -> ResonateFuture[Any]:
    effects: Any = ctx._state.effects
    module = calling_module()
    if getattr(effects, "compares", False):
        registered = (fn, ctx.opts.version) if isinstance(fn, str) else ctx._state.registry.reverse(fn)
        if registered is not None:
            name, version = registered

            def stored() -> dict[str, str]:
                call = TaskData(func=name, args=args, kwargs=kwargs, version=version)
                return _call_digests(effects.codec.decode(effects.codec.encode(call)), sort=has_sets)

            has_sets = holds_sets(args, kwargs)  # their order in JSON differs in each process
            ctx = _place(ctx, effects, name, stored, module, sort=has_sets)
    future: ResonateFuture[Any] = _sdk_rpc(ctx, fn, *args, **kwargs)
    if hasattr(effects, "callers"):
        effects.callers[future._id] = module
    return future


# Finished calls in the place of a call


def _place(
    ctx: Context,
    effects: CheckedEffects,
    function: str,
    arguments: Callable[[], dict[str, str]],
    module: str,
    step: RunningStep | None = None,
    *,
    sort: bool = False,
) -> Context:
    """Return the context for a call, at the place that the SDK counts, or at one beside it.

    With `sort`, the order of lists does not count.

    Raises QuestionChanged, or PlatformError to leave the run to a worker with newer code.
    """
    id = next_id(ctx)
    while (record := effects.cache.get(id)) is not None and (was := _mark_of(record, sort=sort)) is not None:
        try:
            now = arguments()
        except ResonateError:  # the call itself will refuse arguments that cannot be stored
            break
        if was.function == function and was.arguments == now and not was.changed():
            break
        if record.state == "pending":  # it is compared once it has ended
            effects.changed[id] = function
            break
        how = _difference(id, was, function, now)
        code = _code_of(effects, module)
        is_same_code = (was.code.digest, was.code.hitl) == (code.digest, code.hitl)
        if is_same_code and (was.function, was.arguments) != (function, now):
            raise QuestionChanged(
                f"{how} Nothing else in the code has changed. Compute what changes, as a time or what a"
                " file says, in a step: value = await ctx.run(function)."
            )
        if was.code.since > code.since:
            leave_to_others(
                f"{how} The code that called it was started later than this worker: the run is left to it."
                " If the code of this worker is the newer one, restart this worker"
            )
        effects.changed[id] = function
        if not was.repeatable:
            raise QuestionChanged(
                f"{how} Its result is not used, and it is not called again: there are other steps below it."
                " Start the run again, or run the code that it was started with."
            )
        if step is not None:
            step.instead = step.instead or id
        id = beside(id)
        effects.anew.add(id)
    return named(ctx, id)


def _difference(id: str, was: FinishedCall, function: str, now: Mapping[str, str]) -> str:
    """Return a sentence that names a finished call, and the function that is called there now."""
    if was.function != function:
        how = f"and the code calls {function} there now."
    else:
        names = [name for name in {**was.arguments, **now} if was.arguments.get(name) != now.get(name)]
        how = f"and the code calls {function} with another argument there now: {', '.join(names)}."
        if not names:
            how = f"and its code has other texts now: {', '.join(was.changed())}."
    return f"{id} called {was.function}, below which a request was put, {how}"


def _code_of(effects: CheckedEffects, module: str) -> CallerCode:
    """Return the code of a module that calls."""
    assert effects.code_of is not None  # otherwise nothing is compared
    return msgspec.convert(effects.code_of(module), inspected(CallerCode), from_attributes=True)


def differs(effects: CheckedEffects, req: PromiseCreateReq, record: PromiseRecord) -> str | None:
    """Return how a call differs from the finished call that was found when the call was made."""
    step, call = running.get(None), req.param.data
    sort = isinstance(call, TaskData) and holds_sets(call.args, call.kwargs)
    was = _mark_of(record, sort=sort)
    if was is None:
        return None
    if step is not None and step.id == req.id:
        function, now = step.name, step.digests()
    elif isinstance(call, TaskData):
        function, now = call.func, _call_digests(effects.codec.decode(effects.codec.encode(call)), sort=sort)
    else:
        return None
    if was.function == function and was.arguments == now:
        return None
    return f"{_difference(record.id, was, function, now)} Its result is not used. Start the run again."


# The marks


def is_marked(record: PromiseRecord) -> bool:
    """Whether an ended call contains a request, or records the code of its caller."""
    param = record.param.headers
    return asked_below(record) or (param is not None and CODE_HEADER in param)


def asked_below(record: PromiseRecord) -> bool:
    """Whether a call has ended that contains a request."""
    headers = record.value.headers
    return headers is not None and (CALL_HEADER in headers or ASKED_HEADER in headers)


def _mark_of(record: PromiseRecord, *, sort: bool = False) -> FinishedCall | None:
    """Return the finished call, if its result may be used for the same call only."""
    headers = record.value.headers or {}
    try:
        if (mark := headers.get(CALL_HEADER)) is not None:
            return msgspec.json.decode(mark, type=inspected(FinishedCall))
        code = (record.param.headers or {}).get(CODE_HEADER)
        if code is None or (record.state != "pending" and ASKED_HEADER not in headers):
            return None
        return FinishedCall(
            function=msgspec.convert(record.param.data, inspected(Call)).func,
            arguments=_call_digests(record.param.data, sort=sort),
            code=msgspec.json.decode(code, type=inspected(CallerCode)),
            repeatable=headers.get(ASKED_HEADER) == "requests",
        )
    except msgspec.MsgspecError:
        return None


def note_asked(effects: CheckedEffects) -> None:
    """Record a request of the current code in all calls that contain it."""
    effects.asked = True
    step = running.get(None)
    while step is not None and not step.asked:
        step.asked = True
        step = step.above


def step_mark(step: RunningStep) -> dict[str, str]:
    """Return the headers of the value of a step that ends."""
    effects = step.effects
    if step.id in effects.asks or effects.code_of is None:
        return {}
    call = FinishedCall(
        function=step.name,
        arguments=step.digests(),
        code=_code_of(effects, step.module),
        repeatable=_only_requests(effects, step.id),
        texts=_texts_below(effects, step),
    )
    return {CALL_HEADER: msgspec.json.encode(call).decode()}


def call_mark(id: str) -> dict[str, str]:
    """Return the headers of the value of a function that ends and was called by another one."""
    effects = executed.get(None)
    if effects is None or not effects.asked or ":" not in id:
        return {}
    return {ASKED_HEADER: "requests" if _only_requests(effects, id) else "steps"}


def caller_mark(id: str) -> dict[str, str]:
    """Return the headers of the param of a call of another function."""
    effects = executed.get(None)
    module = None if effects is None else effects.callers.pop(id, None)
    if effects is None or module is None or effects.code_of is None:
        return {}
    return {CODE_HEADER: msgspec.json.encode(_code_of(effects, module)).decode()}


def _only_requests(effects: CheckedEffects, id: str) -> bool:
    """Whether a call contains only requests, so that calling it again repeats no step."""
    for promise in effects.cache.values():
        if promise.tags.get(PARENT_TAG) != id or promise.id in effects.asks or is_blocking(promise.tags):
            continue
        mark = _mark_of(promise) if promise.state != "pending" else None
        if (mark is None or not mark.repeatable) and promise.id != child_id(id, TAKE_BACK_SEGMENT):
            return False
    return True


def _texts_below(effects: CheckedEffects, step: RunningStep) -> dict[str, str]:
    """Return the digests of the texts in the functions that ran for a step."""
    texts = texts_of(step.fn)
    for promise in effects.cache.values():
        if promise.tags.get(PARENT_TAG) == step.id and (mark := _mark_of(promise)) is not None:
            texts |= mark.texts
    return texts


def replaced_request(ctx: Context, step: str) -> str | None:
    """Return the request that a step's request replaces, if it belongs to a call that is made again."""
    above = running.get(None)
    while above is not None:
        if above.instead is not None:
            before: str = above.instead + first_id(step).removeprefix(above.id)
            record = ctx._state.effects.cache.get(before)  # type: ignore[attr-defined]
            return before if record is not None and is_blocking(record.tags) else None
        above = above.above
    return None


# Arguments of a call


def _call_digests(call: Any, *, sort: bool = False) -> dict[str, str]:
    """Return a digest of each stored argument of a call; with `sort`, the order of lists does not count."""
    read = msgspec.convert(call, inspected(Call))
    args = tuple(read.args) if isinstance(read.args, list) else (read.args,)
    return {**digests(None, args, read.kwargs, sort=sort), "version": str(read.version)}
