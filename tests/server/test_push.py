"""Messages to http(s):// addresses are posted until the receiver accepts them."""

from __future__ import annotations

import json
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.engine.http.push import PushRules, origins
from tests.conftest import wait_until
from tests.server.conftest import EXTERNAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.server.conftest import Served


class Receiver:
    """An HTTP endpoint that remembers what it was sent, and answers `status`."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.status = 200
        self.got: list[dict[str, Any]] = []
        self.open = threading.Event()
        self.open.set()
        self.url = f"http://127.0.0.1:{server.server_address[1]}/hook"

    def ids(self) -> list[str]:
        """Return the ids of the tasks and promises it was told of."""
        return [(m["data"].get("task") or m["data"]["promise"])["id"] for m in list(self.got)]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Give a receiver."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            one.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            one.open.wait(30)
            self.send_response(one.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    one = Receiver(server)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield one
    one.open.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An endpoint that takes what is posted."""
    with receiving() as one:
        yield one


def listen(served: Served, id: str, address: str) -> None:
    """Settle a promise that an address listens to."""
    served.create(id, EXTERNAL)
    served.ok("promise.register_listener", awaited=id, address=address)
    served.ok("promise.settle", id=id, state="resolved", value={})


def test_a_task_is_posted_with_the_url_at_which_it_can_be_acquired(
    served: Served, receiver: Receiver
) -> None:
    served.create("t", {"resonate:target": receiver.url})
    [message] = wait_until(lambda: list(receiver.got))
    assert message["kind"] == "execute"
    assert message["data"] == {"task": {"id": "t", "version": 0}}
    assert message["head"]["serverUrl"] == served.url
    assert served.acquire("t", 0)[0] == 200


def test_word_of_a_promise_is_posted_again_until_it_is_taken(served: Served, receiver: Receiver) -> None:
    receiver.status = 503
    listen(served, "p", receiver.url)
    wait_until(lambda: len(receiver.got) >= 2)
    receiver.status = 204
    wait_until(lambda: served.metric('resonate_deliveries_total{status="success"}') == 1)
    count = len(receiver.got)
    assert set(receiver.ids()) == {"p"}
    listen(served, "q", receiver.url)
    wait_until(lambda: len(receiver.got) == count + 1)
    assert receiver.ids()[-1] == "q"


def test_an_address_that_answers_never_or_fails_holds_up_no_other(served: Served, receiver: Receiver) -> None:
    with receiving() as stuck:
        stuck.open.clear()
        for n in range(40):
            served.create(f"stuck{n}", {"resonate:target": stuck.url})
            served.create(f"gone{n}", {"resonate:target": "http://127.0.0.1:1/"})
            served.create(f"odd{n}", {"resonate:target": "http://[/"})
        ids = [f"t{n}" for n in range(40)]
        for id in ids:
            served.create(id, {"resonate:target": receiver.url})
        wait_until(lambda: len(receiver.got) >= 40)
        assert Counter(receiver.ids()) == Counter(ids)


def test_two_servers_on_one_file_do_not_post_twice(serve: Callable[..., Served], receiver: Receiver) -> None:
    one, two = serve(), serve()
    ids = [f"p{n}" for n in range(30)]
    for n, id in enumerate(ids):
        listen((one, two)[n % 2], id, receiver.url)
    wait_until(lambda: len(receiver.got) >= 30)
    wait_until(lambda: one.metric("hitl_posts") + two.metric("hitl_posts") == 0)
    assert Counter(receiver.ids()) == Counter(ids)


def test_what_was_not_posted_when_the_server_stopped_is_posted_by_the_next(
    serve: Callable[..., Served], receiver: Receiver
) -> None:
    receiver.status = 500
    first = serve()
    listen(first, "p", receiver.url)
    wait_until(lambda: receiver.got)
    assert first.process.stop() == 0
    receiver.status = 200
    count = len(receiver.got)
    second = serve()
    wait_until(lambda: len(receiver.got) > count)
    wait_until(lambda: second.metric('resonate_deliveries_total{status="success"}') == 1)


def test_nothing_is_posted_but_where_the_command_line_says(
    serve: Callable[..., Served], receiver: Receiver
) -> None:
    with receiving() as other:
        served = serve("--push-to", receiver.url)
        listen(served, "no", other.url)
        listen(served, "yes", receiver.url)
        wait_until(lambda: receiver.got)
        served.process.complained("--push-to does not name it")
        assert other.got == []


@pytest.mark.parametrize(
    ("url", "rules", "refused"),
    [
        ("http://169.254.169.254/latest", PushRules(), True),
        ("http://[fe80::1]/", PushRules(), True),
        ("http://[::ffff:169.254.169.254]/", PushRules(), True),
        ("http://[2002:a9fe:a9fe::]/", PushRules(), True),
        ("http://[64:ff9b::a9fe:a9fe]/", PushRules(), True),
        ("http://[fd00:ec2::254]/latest", PushRules(), True),
        ("http://168.63.129.16/", PushRules(), True),
        ("http://[fd00::1]/", PushRules(), False),
        ("http://0.0.0.0/", PushRules(), True),
        ("http://127.0.0.1:1/", PushRules(), False),
        ("http://10.0.0.1/", PushRules(), False),
        ("http://10.0.0.1/", PushRules(public_only=True), True),
        ("http://127.0.0.1/", PushRules(public_only=True), True),
        ("http://168.63.129.16/", PushRules(public_only=True), True),
        ("http://[64:ff9b::7f00:1]/", PushRules(public_only=True), True),
        ("http://[2002:7f00:1::]/", PushRules(public_only=True), True),
        ("http://[::127.0.0.1]/", PushRules(public_only=True), True),
        ("http://[fec0::1]/", PushRules(public_only=True), True),
        ("http://93.184.216.34/", PushRules(public_only=True), False),
        ("http://192.0.2.1/", PushRules(origins=origins(["http://192.0.2.1"])), False),
        ("http://192.0.2.1:81/", PushRules(origins=origins(["http://192.0.2.1"])), True),
        ("http://192.0.2.1@127.0.0.1/", PushRules(origins=origins(["http://192.0.2.1"])), True),
        ("http://192.0.2.1.example.org/", PushRules(origins=origins(["http://192.0.2.1"])), True),
        ("http:///", PushRules(), True),
    ],
)
def test_where_messages_are_not_posted_to(url: str, rules: PushRules, refused: bool) -> None:
    assert (rules.refuses(url) is not None) == refused
