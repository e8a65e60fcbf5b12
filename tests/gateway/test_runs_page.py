"""The pages of runs, as they come over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.past import DAY_MS, HOUR_MS, Past
from tests.conftest import Hitl
from tests.gateway.conftest import begin_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gateway.conftest import GatewayProcess

MANY = 60
SCRIPT = "<script>alert(1)</script>"
IMAGE = "<img src=x onerror=alert(1)>"
ODD = "a/b?c=d&e#f %2F"


def fill(hitl: Hitl) -> None:
    """Make runs in every state, and one in which everything is hostile."""
    with Past(hitl, 2 * DAY_MS) as past:
        for n in range(MANY):
            past.run(f"many-{n:02}")
        past.now += HOUR_MS
        past.run("released", "deploy", "1.4.2", {"percent": 20})
        past.step("released:1", "released", "build", {"built": "1.4.2"})
        past.ask("released:2.1", "Ship 1.4.2?", key="ship")
        past.approve("released:2.1", by="lead", data={"percent": 20})
        past.approve("released", by=None, data={"out": True})
        past.run("failed")
        past.reject("failed", by=None, reason="there is no budget for it")
        past.run("canceled")
        past.reject("canceled", by="ops", reason="not needed", state="rejected_canceled")
        past.run("deep")
        above = "deep"
        for n in range(1, 31):
            past.step(f"{above}{':' if n == 1 else '.'}1", above, f"level_{n}")
            above = f"{above}{':' if n == 1 else '.'}1"
        past.run(ODD)
        past.run(SCRIPT, IMAGE, SCRIPT)
        past.step(f"{SCRIPT}:1", SCRIPT, IMAGE, {SCRIPT: IMAGE})
        past.ask(f"{SCRIPT}:2", SCRIPT, to=[SCRIPT])
        past.reject(f"{SCRIPT}:2", by=IMAGE, reason=SCRIPT)
        past.ask(f"{SCRIPT}:3", IMAGE)
        past.plain("alone")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    hitl = Hitl(tmp_path_factory.mktemp("runs"))
    fill(hitl)
    gateway = begin_gateway(hitl)
    yield gateway
    gateway.clear_away()


def test_the_runs_are_listed_the_newest_first(filled: GatewayProcess) -> None:
    words = filled.get("/runs").words
    assert words.index("canceled") < words.index("released completed deploy 1d 23h ago")
    assert words.index("released completed") < words.index("many-59 waiting deploy 2d ago a worker that has")
    assert "failed failed deploy 1d 23h ago there is no budget for it" in words
    assert "many-10" not in words


def test_each_run_is_on_one_page_of_the_list(filled: GatewayProcess) -> None:
    seen: list[str] = []
    address = "/runs"
    while address:
        reply = filled.get(address)
        seen += [link for link in reply.links if link.startswith("/runs/many-")]
        assert ("Newest" in reply.words) == (address != "/runs")
        address = next((link for link in reply.links if "after=" in link), "")
    assert seen == [f"/runs/many-{n:02}" for n in reversed(range(MANY))]


@pytest.mark.parametrize("state", ["completed", "failed", "canceled"])
def test_the_runs_of_one_state_are_listed_alone(filled: GatewayProcess, state: str) -> None:
    reply = filled.get(f"/runs?state={state}")
    name = "released" if state == "completed" else state
    assert [link for link in reply.links if link.startswith("/runs/")] == [f"/runs/{name}"]


def test_that_there_are_no_such_runs_is_said(filled: GatewayProcess) -> None:
    assert "No expired runs" in filled.get("/runs?state=expired").words


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("state=finished", "Invalid state 'finished': use one of running, waiting,"),
        (f"state={SCRIPT}", "Invalid state"),
        ("after=x", "Invalid cursor"),
        ("after=-1", "Invalid cursor"),
        ("after=99999999999999999999", "Invalid cursor"),
        ("state=completed&after=1.5", "Invalid cursor"),
    ],
)
def test_an_odd_address_of_the_list_is_refused(filled: GatewayProcess, query: str, said: str) -> None:
    reply = filled.get(f"/runs?{query}".replace("<", "%3C").replace(">", "%3E"))
    assert reply.status == 400
    assert said in reply.words
    assert "<script>a" not in reply.text


def test_a_run_is_shown_with_its_steps(filled: GatewayProcess) -> None:
    reply = filled.get("/runs/released")
    assert "released completed Workflow deploy" in reply.words
    assert "1d 23h ago by ops" in reply.words
    assert "Result out Yes" in reply.words
    assert 'step build released:1 completed 0s {"built":"1.4.2"}' in reply.words
    assert 'request Ship 1.4.2? released:2.1 approved 0s by lead: {"percent":20}' in reply.words
    assert "/r/released:2.1" in reply.links
    assert "Cancel" not in reply.words


def test_why_a_run_ended_is_shown(filled: GatewayProcess) -> None:
    assert "Error there is no budget for it" in filled.get("/runs/failed").words
    assert "Error not needed" in filled.get("/runs/canceled").words


def test_steps_that_are_nested_deep_stay_on_the_page(filled: GatewayProcess) -> None:
    reply = filled.get("/runs/deep")
    assert all(f"step level_{n} " in reply.words for n in range(1, 31))
    assert reply.text.count('<ul class="steps">') == 9
    assert reply.text.count("<ul") == reply.text.count("</ul>")
    assert reply.text.count("<li>") == reply.text.count("</li>")


def test_a_run_whose_id_means_something_in_an_address_is_found(filled: GatewayProcess) -> None:
    link = next(link for link in filled.get("/runs").links if "c%3Dd" in link)
    reply = filled.get(link)
    assert reply.status == 200
    assert f"{ODD} waiting" in reply.words


@pytest.mark.parametrize(
    ("path", "status"), [("/runs/nosuch", 404), ("/runs/%00", 400), ("/runs/" + "x" * 5_000, 400)]
)
def test_a_run_that_is_none_is_said_so(filled: GatewayProcess, path: str, status: int) -> None:
    reply = filled.get(path)
    assert reply.status == status
    assert "data-code=" in reply.text


def test_the_id_of_a_step_leads_to_its_run_and_that_of_a_question_to_its_page(
    filled: GatewayProcess,
) -> None:
    assert filled.get("/runs/released:1").headers["Location"] == "/runs/released"
    assert filled.get("/runs/alone").headers["Location"] == "/r/alone"


def test_what_is_hostile_in_a_run_is_shown_and_does_nothing(filled: GatewayProcess) -> None:
    run = next(link for link in filled.get("/runs").links if "%3Cscript%3E" in link and "/runs/" in link)
    for path in ("/runs", run, f"{run}/cancel"):
        reply = filled.get(path)
        assert reply.status == 200
        assert SCRIPT in reply.words or "&lt;script&gt;" in reply.text
        assert "<script>a" not in reply.text
        assert "<img src=x" not in reply.text


def test_canceling_is_asked_for_and_changes_nothing_before_it_is_confirmed(
    hitl: Hitl, gateway: GatewayProcess
) -> None:
    hitl.ok("start", "one")
    assert "/runs/one/cancel" in gateway.get("/runs/one").links
    asked = gateway.get("/runs/one/cancel")
    assert "Cancel one?" in asked.words
    assert gateway.ask("POST", "/runs/one/cancel", form={"csrf": "guessed"}).status == 403
    assert hitl.json("status", "one")["state"] == "waiting"
    done = gateway.ask("POST", "/runs/one/cancel", form={"csrf": asked.csrf, "reason": "too late"})
    assert (done.status, done.headers["Location"]) == (303, "/runs/one")
    assert "Error too late" in gateway.get("/runs/one").words
    assert "is canceled" in gateway.get("/runs/one/cancel").words
