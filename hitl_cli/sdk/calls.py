"""A call below which a request was put: its result counts for the same call only.

The SDK finds a finished call by its number, and returns what it came to, whatever the code calls there now.
That may be the answer to another question. So the result of such a call carries a mark, and the arguments are
compared with it when the run comes there again. A call below which nobody was asked has no mark, and is
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
"""The mark of a finished call of another function, in its value: what is below it, `requests` or `steps`."""

CODE_HEADER = "hitl:code"
"""The code that called another function: a CallerCode as JSON, in the param of the call."""


class CallerCode(Struct, frozen=True, kw_only=True):
    """The code of a caller (requests/question.py, Code)."""

    digest: str
    hitl: str
    since: int


class FinishedCall(Struct, frozen=True, kw_only=True):
    """A finished call: what it called, the digests of its arguments, and the code that called.

    `repeatable` tells whether nothing but requests is below it, so that it can be called again; `texts` are
    the digests of the texts in the functions that ran for it.
    """

    function: str
    arguments: dict[str, str]
    code: CallerCode
    repeatable: bool
    texts: dict[str, str] = {}

    def changed(self) -> list[str]:
        """Return the functions that would ask something else now, if it can be called again."""
        found = {name: texts_now(name) for name in self.texts} if self.repeatable else {}
        return [name for name, now in found.items() if now not in (None, self.texts[name])]


class RunningStep(Struct):
    """A step of `ctx.run`. `asked` tells whether a request was put below it.

    `arguments` are the digests of what it is called with, once they are known; `instead` is the finished call
    in whose place it is.
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
        """Return the digests of what it is called with."""
        if self.arguments is None:
            self.arguments = digests(self.fn, self.args, self.kwargs)
        return self.arguments


running: ContextVar[RunningStep] = ContextVar("running")
"""The step that the code at hand belongs to; not set in a workflow's own code."""

executed: ContextVar[CheckedEffects] = ContextVar("executed")
"""The durable operations of the task that the code at hand executes."""

_durables: dict[FunctionType, DurableFunction] = {}

_sdk_run = Context.run
_sdk_rpc = Context.rpc


def compare_calls() -> None:
    """Have `ctx.run` note its step, and compare it and `ctx.rpc` with the finished call that is found."""
    Context.run = _run  # type: ignore[method-assign,assignment]
    Context.rpc = _rpc  # type: ignore[method-assign,assignment]
    sdk_context.DurableFunction = _durable  # type: ignore[attr-defined,assignment]
    copy_quickly()


def _durable(fn: Any) -> DurableFunction:
    """Return a function as the SDK has it, which it does not change; to make one takes as long as a step.

    Functions within functions are not kept: each run may make its own.
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
    token = running.set(step)  # which the task of the step inherits
    try:
        if getattr(effects, "compares", False):
            ctx = _place(ctx, effects, step.name, step.digests, module, step)
        future: ResonateFuture[Any] = _sdk_run(ctx, fn, *args, **kwargs)
    finally:
        running.reset(token)
    step.id = future._id
    if _goes_on(effects, future._id):
        step.digests()  # now: the function may change what it was given
    return future


def _goes_on(effects: Any, id: str) -> bool:
    """Whether a step is executed again, which has put something below it."""
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

            has_sets = holds_sets(args, kwargs)  # JSON has each in another order in each process
            ctx = _place(ctx, effects, name, stored, module, sort=has_sets)
    future: ResonateFuture[Any] = _sdk_rpc(ctx, fn, *args, **kwargs)
    if hasattr(effects, "callers"):
        effects.callers[future._id] = module
    return future


# What is found in the place of a call


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
    """Return the context for a call: it finds the place that the SDK counts, or one beside it.

    `sort` has the order of lists not count.

    Raises QuestionChanged, or PlatformError to leave the run to a worker with newer code.
    """
    id = next_id(ctx)
    while (record := effects.cache.get(id)) is not None and (was := _mark_of(record, sort=sort)) is not None:
        try:
            now = arguments()
        except ResonateError:  # what cannot be stored is refused by the call itself
            break
        if was.function == function and was.arguments == now and not was.changed():
            break
        if record.state == "pending":  # compared when it has ended
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
    """Return a sentence that names a finished call, and what is called there now."""
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
    assert effects.code_of is not None  # nothing is compared else
    return msgspec.convert(effects.code_of(module), CallerCode, from_attributes=True)


def differs(effects: CheckedEffects, req: PromiseCreateReq, record: PromiseRecord) -> str | None:
    """Return how a finished call, found only when it is made again, differs from the one that is made."""
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
    """Whether a request was put below a call that has ended, or it tells which code called."""
    param = record.param.headers
    return asked_below(record) or (param is not None and CODE_HEADER in param)


def asked_below(record: PromiseRecord) -> bool:
    """Whether a call has ended below which a request was put."""
    headers = record.value.headers
    return headers is not None and (CALL_HEADER in headers or ASKED_HEADER in headers)


def _mark_of(record: PromiseRecord, *, sort: bool = False) -> FinishedCall | None:
    """Return the call that stands there, if its result counts for the same call only."""
    headers = record.value.headers or {}
    try:
        if (mark := headers.get(CALL_HEADER)) is not None:
            return msgspec.json.decode(mark, type=FinishedCall)
        code = (record.param.headers or {}).get(CODE_HEADER)
        if code is None or (record.state != "pending" and ASKED_HEADER not in headers):
            return None
        return FinishedCall(
            function=msgspec.convert(record.param.data, Call).func,
            arguments=_call_digests(record.param.data, sort=sort),
            code=msgspec.json.decode(code, type=CallerCode),
            repeatable=headers.get(ASKED_HEADER) == "requests",
        )
    except msgspec.MsgspecError:
        return None


def note_asked(effects: CheckedEffects) -> None:
    """Note that a request is put by the code at hand, below all calls that it belongs to."""
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
    """Whether nothing but requests is below a call, so that calling it again repeats no step."""
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
    """Return the request in whose place a step puts one, where it belongs to a call that is made anew."""
    above = running.get(None)
    while above is not None:
        if above.instead is not None:
            before: str = above.instead + first_id(step).removeprefix(above.id)
            record = ctx._state.effects.cache.get(before)  # type: ignore[attr-defined]
            return before if record is not None and is_blocking(record.tags) else None
        above = above.above
    return None


# What a call is given


def _call_digests(call: Any, *, sort: bool = False) -> dict[str, str]:
    """Return a digest of each argument of a call as it is stored; `sort` has the order of lists not count."""
    read = msgspec.convert(call, Call)
    args = tuple(read.args) if isinstance(read.args, list) else (read.args,)
    return {**digests(None, args, read.kwargs, sort=sort), "version": str(read.version)}
