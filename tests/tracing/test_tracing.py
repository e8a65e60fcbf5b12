"""Traces without other processes: ids, what is carried, what is sampled, and that they are off by default."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hitl_cli import tracing
from hitl_cli.client.protocol import get_promise
from hitl_cli.client.wire import headers_of
from hitl_cli.inbox import Inbox
from hitl_cli.people.actor import Actor
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.question import Question
from hitl_cli.tracing.context import Trace, trace_in
from hitl_cli.tracing.tracer import Tracer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan

    from tests.conftest import Hitl

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracing.use(Tracer("test", SimpleSpanProcessor(exporter)))
    yield exporter
    tracing.use(None)


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


@pytest.mark.parametrize("caller", [None, CALLER])
def test_a_request_without_a_run_and_its_decision_are_one_trace(
    hitl: Hitl, spans: InMemorySpanExporter, caller: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = Actor(person="ada", via="api")
    with hitl.client() as client:
        tracer = tracing.current()
        assert tracer is not None
        monkeypatch.setattr(tracer, "current_header", lambda: caller)
        Inbox(client, inbox).ask(Question(prompt="?"), id="q", deadline_ms=60_000)
        promise = get_promise(client, "q")
        assert promise is not None
        assert headers_of(promise.param).get("traceparent") == caller
        for _ in range(2):  # the second one records nothing
            Inbox(client, inbox).decide("q", DecisionInput(verdict="approve"))
    found = by_name(spans)
    assert len(spans.get_finished_spans()) == 2
    request, decision = found["request"], found["decision"]
    assert request.context is not None
    assert decision.parent is not None
    assert decision.parent.span_id == request.context.span_id
    if caller is not None:
        assert f"{request.context.trace_id:032x}" == caller.split("-")[1]
        assert request.parent is not None
        assert f"{request.parent.span_id:016x}" == caller.split("-")[2]
    else:
        assert request.parent is None
    assert (request.start_time or 0) <= (request.end_time or 0)
    assert request.attributes is not None
    assert "ada" not in request.attributes.values()


def test_what_its_caller_does_not_sample_is_not_sent(spans: InMemorySpanExporter) -> None:
    tracer = tracing.current()
    assert tracer is not None
    caller = trace_in(CALLER[:-1] + "0")
    assert caller is not None
    tracer.emit("run", caller.of("r"), caller, 0, 1, {})
    assert spans.get_finished_spans() == ()


def test_an_exception_is_not_in_the_span_that_it_leaves(spans: InMemorySpanExporter) -> None:
    tracer = tracing.current()
    assert tracer is not None
    with pytest.raises(ValueError, match="s3cret"), tracer.span("GET /", {}, serves=True):
        raise ValueError("s3cret")
    [span] = spans.get_finished_spans()
    assert (span.events, span.status.description) == ((), None)


def test_each_process_derives_the_same_spans(spans: InMemorySpanExporter) -> None:
    one = tracing.current()
    another = Tracer("test", SimpleSpanProcessor(spans))
    assert one is not None
    traces = {tracer.trace_of("run-1", 1_000, None).of("run-1:1") for tracer in (one, another)}
    traces |= {one.trace_of("run-1", 2_000, None).of("run-1:1"), Trace(1, 0).of("run-1:1")}
    assert len(traces) == 3  # a later run of the same name has another trace


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "x",
        "00-0-0-01",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        CALLER.upper(),
        CALLER + "-more",
        "\n" + CALLER,
    ],
)
def test_a_header_that_is_not_valid_is_none(header: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert trace_in(header) is None
    if header is not None:
        monkeypatch.setenv("TRACEPARENT", header)
        assert tracing.caller_headers() == {}


def test_a_command_hands_on_the_trace_of_who_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", CALLER)
    assert tracing.caller_headers() == {"traceparent": CALLER}


def test_traces_are_off_unless_the_environment_says_where_to(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in tracing.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    tracing.start("worker")
    assert tracing.current() is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    tracing.start("worker")
    assert tracing.current() is None
    monkeypatch.delenv("OTEL_SDK_DISABLED")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    tracing.start("worker")
    assert tracing.current() is None
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "otel" in record.getMessage()
