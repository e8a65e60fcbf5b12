"""OpenTelemetry traces: docs/guides/traces.md. Off unless OTEL_EXPORTER_OTLP_ENDPOINT is set.

The trace of a run follows its promises. The id of a span is derived from the id of its promise, and its
parent is the span of the promise above. So every process, and every worker that continues the run, adds to
the same trace. A promise that other processes act on (a request, a call, a notification) has the trace in its
header `traceparent`.

Nothing of opentelemetry is imported before `start`, and while it is off, all calls cost one comparison.
"""

from __future__ import annotations

import logging
import os
from contextlib import nullcontext
from typing import TYPE_CHECKING

from hitl_cli.errors import MissingExtra, extra
from hitl_cli.tracing.context import HEADER, Trace, trace_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from hitl_cli.tracing.tracer import Tracer

__all__ = ["HEADER", "Trace", "caller_headers", "current", "span", "start", "trace_in"]

logger = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

_active: Tracer | None = None


def start(role: str) -> None:
    """Send traces from this process, if OTEL_… names a collector; `role` is worker, gateway or dev."""
    global _active  # noqa: PLW0603 - a process has one, as it has one set of loggers
    env = os.environ
    off = env.get("OTEL_SDK_DISABLED", "").lower() == "true" or env.get("OTEL_TRACES_EXPORTER") == "none"
    if _active is not None or off or not any(env.get(name) for name in ENDPOINTS):
        return
    try:
        with extra("otel"):
            from hitl_cli.tracing.tracer import exporting_tracer

            _active = exporting_tracer(role)
    except MissingExtra as error:
        logger.warning("no traces are sent, although OTEL_EXPORTER_OTLP_… is set: %s", error)


def current() -> Tracer | None:
    """Return the tracer; None if traces are off."""
    return _active


def use(tracer: Tracer | None) -> None:
    """Use another tracer, for tests."""
    global _active  # noqa: PLW0603
    _active = tracer


def span(name: str, attributes: Mapping[str, str]) -> AbstractContextManager[object]:
    """Return a context manager that creates a span for a block, if traces are on."""
    return nullcontext() if _active is None else _active.span(name, attributes)


def caller_headers() -> dict[str, str]:
    """Return the header for a promise that is created now: the trace of the caller, if there is one.

    The trace is that of the current span, or of the environment variable TRACEPARENT.
    """
    said = _active.current_header() if _active is not None else os.environ.get("TRACEPARENT")
    return {} if said is None or trace_in(said) is None else {HEADER: said}
