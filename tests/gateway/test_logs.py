"""What a gateway logs: a line for each decision, and for each HTTP request if that is wanted; no secrets."""

from __future__ import annotations

import json
import logging
import resource
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.cli import logs
from hitl_cli.errors import NotFound, logged
from hitl_cli.format import log_fields
from hitl_cli.requests.question import Question
from tests.cli.requests import put
from tests.conftest import HITL, wait_until
from tests.gateway.conftest import GatewayProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Hitl

SECRETS = ("s3cret", "an0ther", "th1rd")


class LoggingGateway(GatewayProcess):
    """A gateway that logs JSON."""

    @property
    def url(self) -> str:
        url: str = json.loads(self.said('"serving"'))["url"]
        return url

    def logged(self, event: str, most: int = 1) -> list[Any]:
        """Wait for so many lines of a kind, and return them."""
        found = wait_until(lambda: many if len(many := self._of(event)) >= most else None)
        assert found is not None
        return found

    def _of(self, event: str) -> list[Any]:
        return [line for text in list(self.errors) if (line := json.loads(text))["event"] == event]


@pytest.fixture
def gateway(hitl: Hitl) -> Iterator[LoggingGateway]:
    started = LoggingGateway(
        [HITL, "gateway", "--port", "0", "--log-json", "--access-log"], hitl.env, hitl.folder
    )
    yield started
    started.clear_away()


def test_decisions_and_http_requests_are_lines_of_json_without_secrets(
    hitl: Hitl, gateway: LoggingGateway
) -> None:
    put(hitl, "q", Question(prompt="Ship?"))
    assert gateway.post("/api/v1/requests/q/decision?note=s3cret", {"verdict": "approve"}).status == 400
    assert gateway.post("/api/v1/requests/q/decision", {"verdict": "approve"}).status == 200
    assert gateway.get("/l/an0ther").status == 403
    assert gateway.get("/wrong/th1rd").status == 404
    [decision] = gateway.logged("decision")
    assert [decision[name] for name in ("request", "outcome", "person", "via")] == [
        "q",
        "approved",
        hitl.env["HITL_AS"],
        "api",
    ]
    asked = gateway.logged("http", 4)
    assert [(line["method"], line["path"], line["status"]) for line in asked] == [
        ("POST", "/api/v1/requests/q/decision", 400),
        ("POST", "/api/v1/requests/q/decision", 200),
        ("GET", "/l/{token}", 403),
        ("GET", "/wrong/…", 404),
    ]
    assert asked[0]["person"] == hitl.env["HITL_AS"]
    assert all(line["ms"] >= 0 for line in asked)
    assert not any(secret in line for line in gateway.errors for secret in SECRETS)


@pytest.mark.only("file", reason="it is the gateway that writes the file")
def test_a_decision_that_a_full_disk_refuses_is_logged(hitl: Hitl, gateway: LoggingGateway) -> None:
    put(hitl, "q", Question(prompt="Ship?"))
    assert gateway.get("/ready").status == 200
    # What a process may write to one file stands for what the disk has left.
    resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    assert gateway.post("/api/v1/requests/q/decision", {"verdict": "approve"}).status == 503
    resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    line = wait_until(lambda: next((one for one in gateway.logged("log") if "code" in one), None))
    assert line is not None
    assert (line["level"], line["code"]) == ("warning", "storage-failed")
    assert gateway.post("/api/v1/requests/q/decision", {"verdict": "approve"}).status == 200


def test_a_line_has_its_own_fields_those_of_its_error_and_those_of_its_context() -> None:
    log_fields.context.set({"run": "r", "person": "reviewer"})
    about = {"request": "r:1", "person": "ops"}
    record = logging.getLogger("test").makeRecord(
        "test", logging.WARNING, "f", 1, "no: %s", (logged(NotFound("nothing")),), None, extra=about
    )
    line = json.loads(logs._OneObject().format(record))
    assert {name: line.get(name) for name in log_fields.FIELDS} == {
        "run": "r",
        "request": "r:1",
        "person": "ops",
        "code": NotFound.code,
    }


def test_a_line_in_json_takes_the_name_of_a_file_that_is_no_text() -> None:
    name = "\udcff\x1b[2J\n.py"
    record = logging.LogRecord("hitl_cli", logging.WARNING, __file__, 1, "%s: \u202e", (name,), None)
    text = logs._OneObject().format(record)
    assert text.isascii()
    assert "\n" not in text
    assert json.loads(text)["message"] == "\\udcff\x1b[2J\n.py: \u202e"
