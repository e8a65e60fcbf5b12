"""Callbacks: what may be named, what is posted once there is a decision, and what is retried."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from standardwebhooks import Webhook

from hitl_cli import Hitl as PythonApi
from hitl_cli.errors import BadInput
from hitl_cli.inbox import Inbox
from hitl_cli.notify.channels import callbacks
from hitl_cli.notify.channels.outside import is_outside
from hitl_cli.notify.messages import DecisionMessage, DeliveryFailed
from hitl_cli.people.actor import Actor
from hitl_cli.people.callbacks import CallbackSettings, endpoint_of
from hitl_cli.requests.question import Question
from tests.conftest import Hitl, wait_until
from tests.gateway.conftest import begin_gateway
from tests.gateway.test_api import Api
from tests.notify.receivers import HttpReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.notify.receivers import Posted

SECRET = "whsec_" + "A" * 44
HOSTS = CallbackSettings(
    hosts=("ci.example.org", "*.apps.example.org", "build.example.org:8443", "[2001:db8::1]"),
    internal=("jenkins.internal:8080", "10.0.0.7"),
    secret=SECRET,
)


# What may be named


@pytest.mark.parametrize(
    ("url", "internal"),
    [
        ("https://ci.example.org/decided?job=7", False),
        ("https://CI.example.org:443", False),
        ("https://a.b.apps.example.org/", False),
        ("https://build.example.org:8443/x", False),
        ("https://[2001:db8::1]/", False),
        ("http://jenkins.internal:8080/x", True),
        ("http://10.0.0.7/", True),
    ],
)
def test_a_host_of_the_settings_may_be_called_back(url: str, internal: bool) -> None:
    assert endpoint_of(url, HOSTS).is_internal is internal


@pytest.mark.parametrize(
    "url",
    [
        "http://ci.example.org/",
        "https://ci.example.org:8443/",
        "https://build.example.org/",
        "https://apps.example.org/",
        "https://evilapps.example.org/",
        "https://example.org/",
        "https://ci.example.org.evil.example/",
        "https://ci.example.org@evil.example/",
        "https://user:secret@ci.example.org/",
        "https://evil.example\\@ci.example.org/",
        "https://ci.example.org\\@evil.example/",
        "https://ci.example.org#@evil.example/",
        "https://ci.example.org /",
        "https://ci.example.org/\r\nX: y",
        "https://ci.example.org./",
        "https://ci.example.org:443443/",
        "https://\u0441i.example.org/",
        "http://jenkins.internal/",
        "http://127.0.0.1/",
        "https://[::1]/",
        "https://2130706433/",
        "ftp://ci.example.org/",
        "file:///etc/passwd",
        "//ci.example.org/",
        "ci.example.org",
        "",
        "https://ci.example.org/" + "a" * 2_000,
    ],
)
def test_no_other_host_may_be_called_back(url: str) -> None:
    with pytest.raises(BadInput) as refused:
        endpoint_of(url, HOSTS)
    assert refused.value.code == "bad-callback"
    assert [path for path, _ in refused.value.problems] == ["callback"]


@pytest.mark.parametrize(
    ("address", "outside"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("64:ff9b::5db8:d822", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.100.100.200", False),
        ("169.254.169.254", False),
        ("168.63.129.16", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b:1::7f00:1", False),
        ("::127.0.0.1", False),
        ("::ffff:0:127.0.0.1", False),
        ("fec0::1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_what_is_an_address_outside(address: str, outside: bool) -> None:
    assert is_outside(address) is outside


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "0.0.0.0", "[::1]", "2130706433", "127.1"])
def test_a_host_with_an_internal_address_is_not_called_unless_it_is_named_as_internal(
    receiver: HttpReceiver, host: str
) -> None:
    port = urlsplit(receiver.url).port
    message = DecisionMessage(key="k", request="r", body=b"{}")
    named = CallbackSettings(hosts=(f"{host}:{port}",), secret=SECRET)
    with pytest.raises(DeliveryFailed) as failed:
        asyncio.run(callbacks.send(message, f"https://{host}:{port}/", named))
    if not host.replace(".1", "").isdecimal():  # aiohttp itself refuses the odd spellings
        assert "callbacks.internal" in str(failed.value)
        assert not failed.value.for_good
    assert not receiver.received


@pytest.mark.parametrize(
    "lines",
    [
        'hosts = ["ci.example.org"]',
        f'hosts = ["https://ci.example.org"]\nsecret = "{SECRET}"',
        f'hosts = ["*"]\nsecret = "{SECRET}"',
        f'hosts = ["ci.*.org"]\nsecret = "{SECRET}"',
        f'internal = ["10.0.0.0/8"]\nsecret = "{SECRET}"',
        f'host = ["ci.example.org"]\nsecret = "{SECRET}"',
    ],
)
def test_settings_that_name_no_host_are_refused(hitl: Hitl, lines: str) -> None:
    (hitl.folder / "hitl.toml").write_text(f"[callbacks]\n{lines}\n")
    hitl.fails(2, "ask", "?", "--no-wait", code="bad-setting")


# What is posted


class Place:
    """A worker, a gateway, and a program that is called back."""

    def __init__(self, folder: Path, receiver: HttpReceiver) -> None:
        self.hitl = Hitl(folder)
        self.receiver = receiver
        host = urlsplit(receiver.url).netloc
        (folder / "hitl.toml").write_text(f'[callbacks]\ninternal = ["{host}"]\nsecret = "{SECRET}"\n')
        self.gateway = begin_gateway(self.hitl)
        self.api = Api(self.gateway)
        self.worker = self.hitl.worker()

    def put(self, id: str, **more: Any) -> Any:
        """Create a request that is called back at a path of its own."""
        asked = {"id": id, "prompt": "Deploy?", "callback": self.url(id), **more}
        return self.api.post("/requests", asked)

    def url(self, id: str) -> str:
        return self.receiver.url.replace("/hook", f"/{id}")

    def came(self, id: str, count: int = 1) -> list[Posted]:
        """Wait until a callback has got so many messages, and return them."""

        def found() -> list[Posted]:
            posted = [one for one in self.receiver.received if one.path == f"/{id}"]
            return posted if len(posted) >= count else []

        return wait_until(found)

    def told(self, id: str, outcome: str) -> dict[str, Any]:
        """Wait until `hitl show` says this of the callback, and return it."""

        def found() -> dict[str, Any] | None:
            told = self.api.get(f"/requests/{id}").json["told"]
            return next((one for one in told if one["outcome"] == outcome), None)

        return wait_until(found) or {}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with HttpReceiver() as receiver:
        place = Place(tmp_path_factory.mktemp("place"), receiver)
        yield place
        place.gateway.clear_away()
        for worker in place.hitl.workers:
            worker.clear_away()
        place.hitl.end_server()


def test_each_outcome_is_posted_once_signed_and_as_the_api_gives_it(place: Place) -> None:
    assert place.put("yes").status == 201
    place.put("no")
    place.put("back")
    place.put("cancel")
    place.put("late", deadline="1s", on_deadline="approve")
    place.told("yes", "to be told")
    decided = place.api.post("/requests/yes/decision", {"verdict": "approve", "comment": "go"})
    place.api.post("/requests/no/decision", {"verdict": "reject", "reason": "not now"})
    place.api.ask("DELETE", "/requests/back")
    place.hitl.ok("cancel", "cancel")
    outcomes = {}
    for id in ("yes", "no", "back", "cancel", "late"):
        [posted] = place.came(id)
        said = Webhook(SECRET).verify(posted.body, dict(posted.headers))
        outcomes[id] = said["data"]["decision"]["outcome"]
        assert (said["type"], said["data"]["id"]) == ("hitl.decided", id)
        told = place.told(id, "told")
        host = urlsplit(place.receiver.url).hostname
        assert (told["who"], told["occasion"], told["channel"]) == (
            f"http://{host}/…",
            "callback",
            "callback",
        )
        shown = place.api.get(f"/requests/{id}").json
        assert said["data"] | {"told": None, "age_s": 0} == shown | {"told": None, "age_s": 0}
        assert place.url(id) not in str(shown)
    late = outcomes.pop("late")
    assert outcomes == {"yes": "approved", "no": "rejected", "back": "canceled", "cancel": "canceled"}
    assert late == "approved"
    assert said["timestamp"]
    assert decided.json["by"]


def test_a_callback_that_fails_is_tried_again_with_the_same_id_and_shown(place: Place) -> None:
    place.receiver.fail_with(503)
    place.put("again")
    place.api.post("/requests/again/decision", {"verdict": "approve"})
    first, second = place.came("again", 2)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert [one["outcome"] for one in place.told("again", "told")["tries"]] == ["failed", "sent"]
    place.receiver.fail_with(404)
    place.put("gone")
    place.api.post("/requests/gone/decision", {"verdict": "approve"})
    assert "404" in place.told("gone", "not told")["why"]
    assert "404" in place.hitl.ok("show", "gone")


def test_a_redirect_is_not_followed(place: Place) -> None:
    place.receiver.fail_with(307, headers={"Location": place.url("elsewhere")})
    place.put("moved")
    place.api.post("/requests/moved/decision", {"verdict": "approve"})
    place.came("moved", 2)
    assert not [one for one in place.receiver.received if one.path == "/elsewhere"]


def test_no_worker_need_run_meanwhile(place: Place) -> None:
    place.worker.stop()
    place.put("later")
    place.api.post("/requests/later/decision", {"verdict": "approve"})
    place.worker = place.hitl.worker()
    assert place.came("later")[0].json["data"]["decision"]["outcome"] == "approved"


def test_a_callback_is_kept_although_who_put_the_request_died_before_it_was_queued(place: Place) -> None:
    place.worker.stop()
    with place.hitl.client() as client:
        inbox = Inbox(client, Actor(person="agent", via="test"))
        allowed = CallbackSettings(internal=(urlsplit(place.receiver.url).netloc,), secret=SECRET)
        question = Question(prompt="?", callback=place.url("died"))
        inbox.ask(question, id="died", deadline_ms=60_000, callbacks=allowed)
    place.worker = place.hitl.worker()
    place.told("died", "to be told")
    place.hitl.ok("approve", "died")
    assert place.came("died")[0].json["data"]["decision"]["outcome"] == "approved"


def test_the_command_and_python_ask_with_a_callback_too(place: Place) -> None:
    place.hitl.ok("ask", "Deploy?", "--id", "cli", "--callback", place.url("cli"), "--no-wait")
    place.hitl.ok("reject", "cli")
    assert place.came("cli")[0].json["data"]["decision"]["via"] == "cli"
    with PythonApi(gateway=place.gateway.url) as python:
        python.put("Deploy?", id="python", callback=place.url("python"))
        python.take_back("python")
    assert place.came("python")[0].json["data"]["decision"]["outcome"] == "canceled"
    place.hitl.ok("ask", "Deploy?", "--id", "taken", "--callback", place.url("taken"), "--no-wait")
    place.told("taken", "to be told")
    place.hitl.ok("cancel", "taken")
    assert place.came("taken")[0].json["data"]["decision"]["outcome"] == "canceled"
    place.hitl.fails(2, "ask", "?", "--id", "x", "--callback", "https://evil.example/", code="bad-callback")
    place.hitl.fails(3, "show", "x")


def test_another_callback_is_another_question(place: Place) -> None:
    place.put("same")
    assert place.put("same").status == 200
    other = place.put("same", callback=place.url("other"))
    assert (other.status, other.json["code"]) == (409, "question-differs")
    assert place.url("same") not in str(other.json)


def test_without_the_setting_it_is_refused_and_nothing_is_created(hitl: Hitl) -> None:
    gateway = begin_gateway(hitl)
    try:
        api = Api(gateway)
        refused = api.post("/requests", {"id": "x", "prompt": "?", "callback": "https://ci.example.org/"})
        assert (refused.status, refused.json["code"]) == (400, "bad-callback")
        assert "[callbacks]" in refused.json["errors"][0]["detail"]
        assert refused.json["errors"][0]["path"] == "callback"
        assert api.get("/requests/x").status == 404
    finally:
        gateway.clear_away()
