"""Records the facts about an exception: its type, the line of the author's file, the traceback.

The SDK keeps the message and a pickle. Only its codec sees the exception itself, of a step or
of a run, so the codec adds the rest as headers, which no SDK reads.
"""

from __future__ import annotations

import os
import sysconfig
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from traceback import FrameSummary, StackSummary, TracebackException, walk_tb
from typing import TYPE_CHECKING, Any

import msgspec
import resonate
from resonate.codec import Codec
from resonate.durable import DurableFunction
from resonate.error import ApplicationError, PlatformError, SerializationError
from resonate.types import PromiseRecord, Value

from hitl_cli.client.failure import Failure, failure_in
from hitl_cli.format.terminal import cut, printable, printable_lines
from hitl_cli.format.validation import in_words
from hitl_cli.sdk.calls import running

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_MESSAGE = 4_000
"""Characters of a message that replaces one that cannot be stored."""

TRACEBACK_HEAD, TRACEBACK_TAIL = 4_000, 12_000
"""Characters of a long traceback that are kept, of its beginning and its end."""

AWAITED = "\n\nIt was awaited here:\n\n"
"""The line between the traceback of a step and that of the code that awaited it."""

TOO_MANY = "too many positional arguments"
"""The end of the error of a call with more arguments than parameters (inspect.Signature.bind)."""

LIBRARIES = ("site-packages", "dist-packages")

UNSAID = {
    "rejected": "rejected",
    "rejected_canceled": "canceled",
    "rejected_timedout": "{id} did not end before its deadline",
}
"""The message of a promise that was settled without one, which the SDK shows as `unknown error: null`."""


_raised: ContextVar[tuple[BaseException, Failure]] = ContextVar("raised")
"""The exception that the current function raised last. Joining a step cuts its traceback."""


def note_raised(error: Exception | PlatformError) -> None:
    """Record the exception of a step or a run, when it leaves the author's function."""
    _raised.set((error, failure_of(error)))


def given_up(cause: Exception, message: str) -> Failure:
    """Return why a worker fails a run, with the line of the author's code, if known."""
    error, failure = _raised.get((None, None))
    own = type(cause).__name__
    if failure is None or not (isinstance(error, PlatformError) and error.cause is cause):
        return Failure(message=message, type=own)
    return msgspec.structs.replace(failure, message=message, type=own)


class FailureCodec(Codec):
    """The SDK's codec, which records where an exception comes from."""

    def encode(self, value: Any) -> Value:
        """Return a value as it is stored. Raises SerializationError, which names the step."""
        if isinstance(value, Exception):
            return self._encode_failure(_without_fit(value) or value)
        try:
            return super().encode(value)
        except SerializationError as error:
            step = running.get(None)
            if step is not None:
                error.error.add_note(f"in step {step.id} ({step.name})")
            raise

    def _encode_failure(self, error: Exception) -> Value:
        raised, failure = _raised.get((None, None))
        if raised is not error or failure is None:
            failure = failure_of(error)
        headers = failure.headers()
        try:
            data = super().encode(error).data
            if isinstance(error, ExceptionGroup):
                stored = {**super().decode(Value(data=data)), "message": failure.message}
                data = super().encode(stored).data
        except Exception:  # noqa: BLE001 - an author's exception, whose own `__str__` may fail
            data = super().encode(ApplicationError(_message(error))).data
        return Value(headers=headers, data=data)

    def decode_promise(self, promise: PromiseRecord) -> PromiseRecord:
        """Return a promise with its payloads decoded, and with a message if it failed without one."""
        decoded = super().decode_promise(promise)
        if decoded.value.data is None and (unsaid := UNSAID.get(decoded.state)) is not None:
            data = {"__type": "error", "message": unsaid.format(id=decoded.id)}
            value = msgspec.structs.replace(decoded.value, data=data)
            return msgspec.structs.replace(decoded, value=value)
        return decoded


def _without_fit(error: Exception) -> ApplicationError | None:
    """Return the error to report for arguments that the function does not take; None for any other error.

    The SDK's own errors do not name the parameter or the number of parameters (resonate/durable.py).
    """
    too_many = isinstance(error, ApplicationError) and str(error).endswith(TOO_MANY)
    misfit = error.error if isinstance(error, SerializationError) else None
    if not (too_many or isinstance(misfit, msgspec.ValidationError)):
        return None
    for frame, _ in walk_tb(error.__traceback__):
        if too_many and frame.f_code is DurableFunction.invoke.__code__:
            function, given = frame.f_locals["self"], frame.f_locals["packed"].args
            none = "" if function._user_sig.parameters else ". To pass none, start it with --no-args"
            called = f"{function.name}{function._user_sig}"
            return ApplicationError(f"{error}: {len(given)} for {called}{none}")
        if isinstance(misfit, msgspec.ValidationError) and frame.f_code is DurableFunction._coerce.__code__:
            name, function = frame.f_locals["name"], frame.f_locals["self"].name
            wrong = in_words(misfit, table="an object")
            where = "" if wrong.startswith("it ") else f": {wrong}"
            return ApplicationError(f"{function}: argument {name}{where or wrong.removeprefix('it')}")
    return None


def failure_of(error: BaseException) -> Failure:
    """Return the facts about an exception."""
    trace = TracebackException.from_exception(error, capture_locals=False)
    where = _authors_frame(_first(trace).stack) or _authors_frame(trace.stack)
    _leave_out_ours(trace)
    text = printable_lines("".join(trace.format()).rstrip())
    if len(text) > TRACEBACK_HEAD + TRACEBACK_TAIL:
        text = f"{text[:TRACEBACK_HEAD]}\n  …\n{text[-TRACEBACK_TAIL:]}"
    return Failure(
        message=_message(error),
        type=type(error).__name__,
        where=None if where is None else _shown(where),
        traceback=text if where is not None else None,
    )


def comes_from(failure: Failure, seen: Iterable[tuple[str, Failure]]) -> Failure:
    """Return a failure with the facts about the step that it comes from.

    `seen` are failed steps by id, the latest last. The SDK raises a step's error anew where it is awaited.
    """
    for id, step in reversed(list(seen)):
        if step.message == failure.message and failure.type in (step.type, ApplicationError.__name__):
            tracebacks = [text for text in (step.traceback, failure.traceback) if text]
            return Failure(
                message=failure.message,
                type=step.type or failure.type,
                step=step.step or id,
                function=step.function,
                where=step.where or failure.where,
                traceback=AWAITED.join(tracebacks) or None,
            )
    return failure


def remembered(promise: PromiseRecord) -> Failure:
    """Return why a promise failed."""
    failure = failure_in(promise.value)
    unsaid = None if promise.value.data else UNSAID.get(promise.state)
    return msgspec.structs.replace(failure, message=unsaid.format(id=promise.id)) if unsaid else failure


def _first(trace: TracebackException) -> TracebackException:
    """Return an exception, or the first of a group of them."""
    while trace.exceptions:
        trace = trace.exceptions[0]
    return trace


def _message(error: BaseException) -> str:
    """Return the message of an exception as storable text; for a group, the messages of all in it."""
    if isinstance(error, BaseExceptionGroup):
        each = (f"{type(part).__name__}: {_message(part)}" for part in error.exceptions)
        return cut("; ".join(each), LONGEST_MESSAGE)
    try:
        return cut(printable_lines(str(error)), LONGEST_MESSAGE)
    except Exception as broken:  # noqa: BLE001 - an author's `__str__`
        return f"{type(error).__name__}, whose message cannot be shown: {type(broken).__name__}"


def _authors_frame(stack: StackSummary) -> FrameSummary | None:
    """Return the innermost frame of the author's own code; if there is none, the outermost frame."""
    frames = [frame for frame in stack if not _is_ours(frame.filename) and not _is_pythons(frame.filename)]
    own = [frame for frame in frames if not any(each in frame.filename for each in LIBRARIES)]
    return own[-1] if own else next(iter(frames), None)


def _shown(frame: FrameSummary) -> str:
    """Return a frame as `app.py:12 in charge`, its path relative to this folder where it is below."""
    path = os.path.relpath(frame.filename)
    name = frame.filename if path.startswith("..") else path
    return printable(f"{name}:{frame.lineno} in {frame.name}")


def _leave_out_ours(trace: TracebackException) -> None:
    """Remove the frames of the SDK and of hitl from a traceback and from those of its causes."""
    left: list[TracebackException | None] = [trace]
    while left:
        if (each := left.pop()) is None:
            continue
        kept = [frame for frame in each.stack if not _is_ours(frame.filename)]
        each.stack = StackSummary.from_list(kept)
        left += [each.__cause__, each.__context__, *(each.exceptions or ())]


@cache
def _is_ours(path: str) -> bool:
    """Whether a file belongs to the SDK or to hitl."""
    homes = (*resonate.__path__, str(Path(__file__).parent.parent))
    return path.startswith(tuple(f"{home}{os.sep}" for home in homes))


@cache
def _is_pythons(path: str) -> bool:
    """Whether a file belongs to Python's own library."""
    home = sysconfig.get_paths()["stdlib"]
    in_library = any(each in path for each in LIBRARIES)
    return path.startswith("<frozen") or (path.startswith(home + os.sep) and not in_library)
