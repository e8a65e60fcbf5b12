"""Creates spans with opentelemetry. Spans of promises get derived ids."""

from __future__ import annotations

import os
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import version
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import trace as otel
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from hitl_cli.tracing.context import SAMPLED, Trace, derived_trace_id, trace_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanProcessor

TIMEOUTS = ("OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")

SEND_S = 3.0
"""How long sending may take: a process that stops waits for it, also if the receiver is away."""

NS = 1_000_000
"""Nanoseconds in one of our milliseconds."""

_ids: ContextVar[tuple[int, int] | None] = ContextVar("span_ids", default=None)
"""The trace and the span that is started next."""

type Attributes = Mapping[str, str | int | bool]


class _Ids(IdGenerator):
    """Returns the ids that are set for the next span, otherwise random ones."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()

    def generate_trace_id(self) -> int:
        """Return the id of a new trace."""
        wanted = _ids.get()
        return self._random.generate_trace_id() if wanted is None else wanted[0]

    def generate_span_id(self) -> int:
        """Return the id of a new span."""
        wanted = _ids.get()
        return self._random.generate_span_id() if wanted is None else wanted[1]


def exporting_tracer(role: str) -> Tracer:
    """Return a tracer that sends spans as OTEL_EXPORTER_OTLP_… variables say. Raises ImportError."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    chosen = any(os.environ.get(name) for name in TIMEOUTS)
    exporter = OTLPSpanExporter() if chosen else OTLPSpanExporter(timeout=SEND_S)
    return Tracer(role, BatchSpanProcessor(exporter))


class Tracer:
    """Creates spans for promises, and for blocks of this process."""

    def __init__(self, role: str, processor: SpanProcessor) -> None:
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": f"hitl-{role}"}
        known = {**named, "service.version": version("resonate-hitl")}
        self._provider = TracerProvider(resource=Resource.create(known), id_generator=_Ids())
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("hitl")

    def trace_of(self, promise: str, created_at: int, header: str | None) -> Trace:
        """Return the trace of a promise and its caller's span: from its header, or a derived one.

        `created_at` is in ms since the epoch.
        """
        said = trace_in(header)
        if said is not None:
            return said
        id = derived_trace_id(promise, created_at)
        decided = self._provider.sampler.should_sample(None, id, "run").decision
        return Trace(id, 0, SAMPLED if decided is Decision.RECORD_AND_SAMPLE else 0)

    def emit(
        self,
        name: str,
        span: Trace,
        parent: Trace | None,
        start_ms: int,
        end_ms: int,
        attributes: Attributes,
        failed: str | None = None,
    ) -> None:
        """Create a span that has ended. Without a parent it is the first one of its trace."""
        if not span.flags & SAMPLED:
            return
        above = otel_context.Context() if parent is None or not parent.span else _context_of(parent)
        token = _ids.set((span.id, span.span))
        try:
            made = self._tracer.start_span(name, above, start_time=start_ms * NS, attributes=dict(attributes))
        finally:
            _ids.reset(token)
        if failed is not None:
            made.set_status(Status(StatusCode.ERROR, failed))
        made.end(max(end_ms, start_ms) * NS)

    @contextmanager
    def span(
        self, name: str, attributes: Attributes, *, parent: Trace | None = None, serves: bool = False
    ) -> Iterator[otel.Span]:
        """Create a span for a block, in which it is the current span; `serves` if it answers a request.

        Exceptions are not recorded: some are redirects, and the text of others may be confidential.
        """
        kind = SpanKind.SERVER if serves else SpanKind.INTERNAL
        above = None if parent is None else _context_of(parent)
        with self._tracer.start_as_current_span(
            name,
            above,
            kind=kind,
            attributes=dict(attributes),
            record_exception=False,
            set_status_on_exception=False,
        ) as made:
            yield made

    def enter(self, trace: Trace) -> None:
        """Make a span the current one of this context, for the spans of a workflow's own code."""
        otel_context.attach(_context_of(trace))

    def current_header(self) -> str | None:
        """Return the header of the current span; None if there is none."""
        found = otel.get_current_span().get_span_context()
        return (
            Trace(found.trace_id, found.span_id, int(found.trace_flags)).header() if found.is_valid else None
        )


def _context_of(trace: Trace) -> Context:
    """Return the context in which a span is the current one."""
    known = SpanContext(trace.id, trace.span, is_remote=True, trace_flags=TraceFlags(trace.flags))
    return otel.set_span_in_context(NonRecordingSpan(known), otel_context.Context())
