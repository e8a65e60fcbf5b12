"""Where a gateway is known, what asks and lists requests prints their addresses, and none where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

from hitl_cli.gateway.options import Options
from hitl_cli.people import gateway_file
from hitl_cli.people.gateway_file import announced, page_of, running
from hitl_cli.requests.question import Question
from hitl_cli.settings import Settings
from tests.cli.requests import promise_now, put
from tests.conftest import APPS, HITL, Hitl, wait_until
from tests.gateway.conftest import GatewayProcess, begin_gateway
from tests.gateway.test_dev import DevProcess
from tests.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

URL = "https://tools.example.org/hitl"
LOCAL = "http://127.0.0.1:5001"


@pytest.fixture
def gateway(hitl: Hitl) -> Iterator[GatewayProcess]:
    started = begin_gateway(hitl)
    yield started
    if started.process.poll() is None:
        started.kill()


# The file


def test_a_gateway_is_known_while_it_runs_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "hitl.db.gateway"
    assert running(path) is None
    with announced(path, URL):
        assert running(path) == URL
        assert path.stat().st_mode & 0o777 == 0o600
    assert running(path) is None
    assert list(path.parent.iterdir()) == []


def test_the_first_of_two_gateways_stays_known_and_the_next_one_takes_over(tmp_path: Path) -> None:
    path = tmp_path / "hitl.db.gateway"
    with announced(path, URL):
        with announced(path, LOCAL):
            assert running(path) == URL
        assert running(path) == URL
    with announced(path, LOCAL):
        assert running(path) == LOCAL


def test_on_another_machine_a_loopback_address_is_not_known_and_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for url, known in ((LOCAL, None), ("http://localhost:5001", None), (URL, URL)):
        path = tmp_path / "hitl.db.gateway"
        with announced(path, url), monkeypatch.context() as elsewhere:
            assert running(path) == url
            elsewhere.setattr(gateway_file, "_machine", lambda: "another one")
            assert running(path) == known


def test_a_gateway_that_starts_removes_what_killed_ones_have_left(tmp_path: Path) -> None:
    left = [tmp_path / f"{number}.gateway" for number in range(3)]
    for path in left:
        with announced(path, URL):
            text = path.read_bytes()
        path.write_bytes(text)  # as a killed one leaves it
    left[0].write_bytes(b"")
    other, link = tmp_path / "notes.gateway", tmp_path / "link.gateway"
    other.write_text("not a gateway's")
    link.symlink_to(other)
    with announced(tmp_path / "runs.gateway", URL), announced(tmp_path / "hitl.db.gateway", LOCAL):
        assert running(tmp_path / "runs.gateway") == URL
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "hitl.db.gateway", "link.gateway", "notes.gateway", "runs.gateway",
        ]  # fmt: skip
    assert other.read_text() == "not a gateway's"


@pytest.mark.parametrize(
    "said",
    [b"", b"{", b"\xff", b'{"url": "javascript:alert(1)", "machine": ""}', b'{"url": "https://a\\u001b[2J"}'],
)
def test_what_no_gateway_says_is_not_believed(tmp_path: Path, said: bytes) -> None:
    path = tmp_path / "hitl.db.gateway"
    with announced(path, URL):
        path.write_bytes(said)
        assert running(path) is None


def test_a_file_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    target, path = tmp_path / "precious", tmp_path / "hitl.db.gateway"
    target.write_text("keep")
    path.symlink_to(target)
    with announced(path, URL):
        assert running(path) is None
    assert target.read_text() == "keep"


def test_a_gateway_that_listens_everywhere_is_known_by_an_address_of_this_machine(tmp_path: Path) -> None:
    options = Options(server="x", keys=tmp_path, person="ada", host="0.0.0.0", url="http://0.0.0.0:0")
    assert options.reached_at("http://0.0.0.0:4711") == "http://127.0.0.1:4711"


# Commands


def test_who_asks_lists_and_shows_prints_the_address_until_the_gateway_is_gone(
    hitl: Hitl, gateway: GatewayProcess
) -> None:
    page = page_of(gateway.url, "run-1:1")
    worker = hitl.worker()
    started = hitl.run("start", "run-1", "--workflow", "approval")
    assert f"{gateway.url}/runs/run-1" in started.stderr
    assert page in worker.said("waiting for a person")
    listed = hitl.run("pending")
    assert page in listed.stdout
    assert f"{gateway.url}/" in listed.stderr
    assert page in hitl.ok("show", "run-1:1")
    assert page in hitl.run("start", "run-1", "--workflow", "approval").stderr
    asked = hitl.run("ask", "Ship it?", "--id", "q-1", "--no-wait")
    assert page_of(gateway.url, "q-1") in asked.stderr
    assert hitl.ok("link", "run-1:1", "--for", "ada").startswith(f"{gateway.url}/l/")

    gateway.kill()
    left = Settings(hitl.env, hitl.folder).gateway_file(hitl.url)
    place = Path(hitl.env["XDG_DATA_HOME"]) / "hitl" if "XDG_DATA_HOME" in hitl.env else left.parent
    assert (place / left.name).exists()
    for command in (("pending",), ("show", "run-1:1"), ("ask", "--id", "q-1", "--timeout", "1ms")):
        done = hitl.run(*command)
        assert "http" not in done.stdout + done.stderr
    wait_until(lambda: worker.process.poll() is None)


def test_a_gateway_that_is_set_counts_before_one_that_runs(hitl: Hitl, gateway: GatewayProcess) -> None:
    put(hitl, "q-1", Question(prompt="Ship it?"))
    hitl.env["HITL_GATEWAY"] = URL
    shown = hitl.ok("show", "q-1")
    assert page_of(URL, "q-1") in shown
    assert gateway.url not in shown


@pytest.mark.only("file", reason="hitl server serves a file")
def test_over_a_server_the_gateway_of_this_machine_is_known(hitl: Hitl, tmp_path: Path) -> None:
    hitl.env["XDG_DATA_HOME"] = str(tmp_path / "data")
    server = hitl.popen("server", "--port", "0")
    try:
        assert server.stdout is not None
        url = server.stdout.readline().split(" on ")[1].split()[0]
        gateway = begin_gateway(hitl, "-S", url)
        try:
            assert (
                page_of(gateway.url, "q-1")
                in hitl.run("-S", url, "ask", "?", "--id", "q-1", "--no-wait").stderr
            )
            assert "http" not in hitl.run("ask", "?", "--id", "q-2", "--no-wait").stderr
        finally:
            assert gateway.stop() == 0
        assert "/r/" not in hitl.ok("-S", url, "pending")
    finally:
        server.kill()
        server.wait()


def test_on_a_terminal_an_address_can_be_clicked(hitl: Hitl) -> None:
    put(hitl, "q-1", Question(prompt="Ship it?"))
    env = {**hitl.env, "HITL_GATEWAY": URL, "TERM": "xterm-256color"}
    opened = f"{page_of(URL, 'q-1')}\x1b\\"
    for command in (["pending"], ["show", "q-1"]):
        with Terminal([HITL, *command], env, hitl.folder) as terminal:
            assert terminal.end() == 0
            assert opened in terminal.raw, command


def test_hitl_dev_prints_a_link_that_approves_for_the_built_in_approval_and_else_the_page(hitl: Hitl) -> None:
    dev = DevProcess([HITL, "dev", "--port", "0", "--app", str(APPS / "asks.py")], hitl.env, hitl.folder)
    try:
        hitl.ok("start", "run-1", "--workflow", "approval")
        said, _, link = dev.said("run-1 waiting for a person").rpartition(" ")
        assert said.endswith("or approve by opening")
        assert link == f"{dev.url}/unblock-workflow?promise_id=run-1%3A1"
        with urlopen(link) as answer:
            assert answer.status == 200
        assert promise_now(hitl, "run-1:1")["state"] == "resolved"
        hitl.ok("start", "run-2", "--workflow", "requires", "--no-args")
        assert f"  or open {dev.url}/r/run-2%3A" in dev.said("run-2 waiting for a person")
    finally:
        dev.stop()
