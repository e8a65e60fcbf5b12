"""Whether the gateway is up, and what every answer says."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Hitl
    from tests.gateway.conftest import GatewayProcess, StartGateway


def test_a_gateway_says_that_it_is_up_and_that_its_server_is(shared_gateway: GatewayProcess) -> None:
    assert shared_gateway.get("/health").text == "ok\n"
    assert shared_gateway.get("/ready").text == "ready\n"


def test_a_gateway_whose_server_is_away_is_up_but_not_ready(start_gateway: StartGateway) -> None:
    gateway = start_gateway("-S", "http://127.0.0.1:9")
    assert gateway.get("/health").status == 200
    reply = gateway.get("/ready")
    assert reply.status == 503
    assert "http://127.0.0.1:9" in reply.text


def test_a_stranger_is_not_told_where_a_server_is_that_is_away(start_gateway: StartGateway) -> None:
    gateway = start_gateway("-S", "http://127.0.0.1:9", "--sign-in")
    token = {"Authorization": f"Bearer hitl_{16 * '0'}_{43 * 'A'}"}
    for reply in (gateway.get("/ready"), gateway.get("/api/v1/runs", **token)):
        assert reply.status == 503
        assert "127.0.0.1:9" not in reply.text


def test_every_answer_tells_the_browser_what_it_may_do(shared_gateway: GatewayProcess) -> None:
    for path in ("/health", "/nowhere", "/static/hitl.css"):
        headers = shared_gateway.get(path).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
    assert shared_gateway.get("/nowhere").headers["Cache-Control"] == "no-store"


def test_an_address_that_is_none_is_a_page_that_says_so(shared_gateway: GatewayProcess) -> None:
    reply = shared_gateway.get("/nowhere")
    assert reply.status == 404
    assert reply.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py"])
def test_no_path_leads_out_of_the_static_files(shared_gateway: GatewayProcess, path: str) -> None:
    assert shared_gateway.get(path).status == 404


def test_a_name_that_is_not_this_machines_is_refused(shared_gateway: GatewayProcess) -> None:
    assert shared_gateway.get("/", Host="evil.example").status == 421


def test_ctrl_c_ends_a_gateway(gateway: GatewayProcess) -> None:
    assert gateway.stop(signal.SIGINT) == 0


def test_a_port_that_is_taken_is_said_so(shared_gateway: GatewayProcess, hitl: Hitl) -> None:
    port = shared_gateway.url.rpartition(":")[2]
    hitl.fails(2, "gateway", "--port", port, code="cannot-listen")
