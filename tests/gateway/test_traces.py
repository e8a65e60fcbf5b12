"""One trace from the HTTP request that starts a run to the resumed run, over two processes and a kill."""

from __future__ import annotations

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.conftest import wait_until
from tests.notify.receivers import HttpReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Hitl
    from tests.gateway.conftest import StartGateway

APP = """
from hitl_cli import ask, workflow

def build(ctx):
    return 1

@workflow
async def release(ctx, id):
    await ctx.run(build)
    decision = await ask(ctx, "Ship?", to="ada")
    return decision.approved
"""

SETTINGS = """
[people.ada]
webhook = "{url}"
"""

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Collector:
    """What receives traces by OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Any]] = []
        """The spans with their services."""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                for each in ExportTraceServiceRequest.FromString(body).resource_spans:
                    named = {one.key: one.value.string_value for one in each.resource.attributes}
                    for scope in each.scope_spans:
                        collector.spans += [(named["service.name"], span) for span in scope.spans]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def env(self) -> dict[str, str]:
        url = f"http://127.0.0.1:{self._server.server_port}"
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }

    def of(self, name: str) -> Any:
        """Wait for a span, and return it."""
        return wait_until(lambda: next((span for _, span in list(self.spans) if span.name == name), None))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.mark.heavy
def test_a_request_from_its_start_to_the_resumed_run_is_one_trace(
    hitl: Hitl, start_gateway: StartGateway, collector: Collector
) -> None:
    (hitl.folder / "app.py").write_text(APP)
    with HttpReceiver() as receiver:
        (hitl.folder / "hitl.toml").write_text(SETTINGS.format(url=receiver.url))
        gateway = start_gateway(env=collector.env)
        first = hitl.worker("--app", "app.py", env=collector.env)
        body = {"id": "run-1", "workflow": "release"}
        assert gateway.post("/api/v1/runs", body, traceparent=CALLER).status == 201
        first.said("waiting")
        receiver.wait_for(1)
        execution = collector.of("execute release")
        collector.of("notification")
        first.kill()
        second = hitl.worker("--app", "app.py", env=collector.env)
        path = "/api/v1/requests/run-1:2.1/decision"
        assert gateway.post(path, {"verdict": "approve"}).status == 200
        second.said("completed")
        run, request = collector.of("release"), collector.of("request")
    started, decision, step = collector.of("POST /api/v1/runs"), collector.of("decision"), collector.of("ask")
    trace = bytes.fromhex(CALLER.split("-")[1])
    connected = {
        started.span_id: bytes.fromhex(CALLER.split("-")[2]),
        run.span_id: started.span_id,
        execution.span_id: run.span_id,
        collector.of("build").span_id: run.span_id,
        step.span_id: run.span_id,
        request.span_id: step.span_id,
        decision.span_id: request.span_id,
        collector.of("notification").span_id: request.span_id,
        collector.of("send message").span_id: collector.of("notification").span_id,
    }
    ours = [(service, span) for service, span in collector.spans if span.trace_id == trace]
    assert {span.span_id: span.parent_span_id for _, span in ours}.items() >= connected.items()
    assert len({span.span_id for _, span in ours}) == len(ours)
    assert [span.name for _, span in ours].count("execute release") == 2
    assert {service for service, _ in ours} == {"hitl-gateway", "hitl-worker"}
    said = {one.key: one.value.string_value for one in request.attributes}
    assert said == {"hitl.request.id": "run-1:2.1", "hitl.outcome": "approved", "hitl.via": "api"}
    assert request.start_time_unix_nano <= decision.start_time_unix_nano <= run.end_time_unix_nano


@pytest.mark.heavy
def test_nothing_of_opentelemetry_is_imported_without_it() -> None:
    code = (
        "import sys, hitl_cli.worker.process, hitl_cli.gateway.app; sys.exit('opentelemetry' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
