"""The SDK's client with the additions of a worker: observed tasks, and reported retries."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import msgspec
from resonate import observability as sdk_events
from resonate.error import ApplicationError, SerializationError
from resonate.resonate import Resonate

from hitl_cli.errors import BadInput
from hitl_cli.sdk.binding import quickened
from hitl_cli.sdk.calls import compare_calls
from hitl_cli.sdk.failures import FailureCodec
from hitl_cli.sdk.replay import CheckedCore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hitl_cli.sdk.observer import ObservedTasks, TaskPorts


_ASK_MISCALLED = ("ask() ", "ask_all() ", "link_to() ")
"""Python's message when a function is called with wrong arguments."""

_MAY_CHANGE = ("bad-file", "bad-key", "bad-setting")
"""Codes of BadInput about files, which a person may correct while the step is retried."""


class Registering(Resonate):
    """The SDK's client, which remembers its registered functions, and whose tasks can be observed."""

    def __init__(self, **options: Any) -> None:
        self.served: set[tuple[str, int]] = set()
        super().__init__(**options)
        compare_calls()
        self._core = CheckedCore(**msgspec.structs.asdict(self._core))

    def watch(self, tasks: TaskPorts | None, watched: Callable[[TaskPorts], ObservedTasks]) -> ObservedTasks:
        """Put an observer of the SDK's requests for its tasks before `tasks`, or before the SDK's own.

        The core accepts any ports (resonate/core.py), but the client has no parameter for them.
        """
        seen = watched(tasks or self._sender)
        self._core.sender = self._core.fencing = seen
        self._core.codec = FailureCodec(self._core.codec.encryptor)
        return seen

    def know_code(self, code_of: Callable[[str], Any]) -> None:
        """Enable the comparison of callers' code; `code_of` returns the code that a module belongs to."""
        self._core.code_of = code_of  # type: ignore[attr-defined]

    def register(self, fn: Any = None, **options: Any) -> Any:
        """Register a durable function, as the SDK does."""
        registered = super().register(fn, **options)
        if fn is not None:
            name = str(options.get("name") or getattr(fn, "__name__", ""))
            version = int(options.get("version", 1))
            self.served.add((name, version))
            if (function := self._core.registry.get(name, version)) is not None:
                quickened(function)
        return registered


async def pause(
    delay_s: float,
    note_retry: Callable[[BaseException, float], Awaitable[None]],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Sleep before a step is retried, and report why (resonate/context.py, invoke_with_retry).

    Raising here ends the run.
    """
    error = sys.exception()
    if error is None:  # not a retry, but periodic work of the SDK
        await asyncio.sleep(delay_s)
        return
    if _is_for_good(error):
        raise error
    await note_retry(error, delay_s)
    await sleep(delay_s)


def _is_for_good(error: BaseException) -> bool:
    """Whether each retry of a step would fail in the same way, because a call is wrong."""
    miscounted = isinstance(error, ApplicationError) and isinstance(error.__cause__, TypeError)
    if miscounted or isinstance(error, SerializationError):  # resonate/durable.py, invoke
        return True
    if isinstance(error, TypeError):
        return str(error).startswith(_ASK_MISCALLED)
    return isinstance(error, BadInput) and error.code not in _MAY_CHANGE


def log_failures(happened: sdk_events.Event) -> None:
    """Log background failures of the SDK; its other events are only for its own tests."""
    match happened:
        case sdk_events.Dropped() | sdk_events.BackgroundTaskFailed():
            sdk_events.logging_observer(happened)
