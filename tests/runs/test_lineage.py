"""A promise's run is its tag `resonate:origin`, never the text of its id: ids of the Rust SDK have a dot.

On the file and over HTTP. tests/rust has the same with the SDK itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.client.protocol import ProtocolRequest, as_promise
from hitl_cli.client.wire import Call, encode
from hitl_cli.errors import NotFound
from hitl_cli.inbox import Inbox
from hitl_cli.people.actor import Actor
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.runs import Runs
from hitl_cli.runs.run import RunSpec

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client

HOUR_MS = 3_600_000
TARGET = "poll://any@rust"


@pytest.fixture
def actor() -> Actor:
    return Actor(person="ada", via="test", may=frozenset({"read", "start", "decide"}))


def create(client: Client, id: str, tags: dict[str, str], param: Any = None) -> None:
    """Create a promise of the run `r` as the Rust SDK does (context.rs, child_tags)."""
    parent = id.rpartition(".")[0]
    place = {"resonate:origin": "r", "resonate:parent": parent, "resonate:branch": id}
    data = {"id": id, "timeoutAt": client.now() + HOUR_MS, "tags": place | tags, "param": param}
    as_promise(client.call_many([ProtocolRequest("promise.create", data)])[0])


@pytest.fixture
def run(client: Client, actor: Actor) -> str:
    """A run `r` with a step, a call of another function that asks, and a question of its own."""
    Runs(client, actor).start(RunSpec(id="r", workflow="deploy", args="1.4.2"), group="rust")
    create(client, "r.0", {"resonate:scope": "local"})
    call = {"resonate:scope": "global", "resonate:target": TARGET}
    create(client, "r.1", call, encode({"func": "check", "args": None}))
    create(client, "r.1.0", {"resonate:scope": "global"})
    create(client, "r.2", {"resonate:scope": "global"})
    return "r"


def test_what_is_asked_is_listed_under_its_run_and_function(client: Client, actor: Actor, run: str) -> None:
    found, _ = Inbox(client, actor).list()
    # In one millisecond, PostgreSQL lists the shorter id first.
    assert sorted((item.id, item.workflow, item.function) for item in found) == [
        ("r.1.0", run, "deploy"),
        ("r.2", run, "deploy"),
    ]


def test_the_run_waits_for_both_and_is_one_tree(client: Client, actor: Actor, run: str) -> None:
    runs = Runs(client, actor)
    listed, _ = runs.list()
    assert [one.id for one in listed] == [run]
    tree = runs.steps("r.1.0")
    assert tree.run.id == run
    assert [step.promise.id for step in tree.root.children] == ["r.0", "r.1", "r.2"]
    assert [step.kind for step in tree.root.children] == ["step", "call", "person"]
    assert [step.promise.id for step in tree.root.children[1].children] == ["r.1.0"]


def test_a_name_means_what_waits_under_it(client: Client, actor: Actor, run: str) -> None:
    inbox = Inbox(client, actor)
    yes = DecisionInput(verdict="approve")
    assert inbox.decide("r.1", yes).promise.id == "r.1.0"
    assert inbox.decide(run, yes).promise.id == "r.2"
    with pytest.raises(NotFound):
        inbox.decide("r.0", yes)


def test_a_run_is_canceled_with_what_it_asks(client: Client, actor: Actor, run: str) -> None:
    runs = Runs(client, actor)
    with pytest.raises(NotFound):
        runs.cancel("r.1")
    runs.cancel(run)
    assert Inbox(client, actor).list()[0] == []


@pytest.mark.parametrize("args", ["1.4.2", None, {"a": [1]}, 7, [], ["x"]])
def test_arguments_are_on_the_wire_exactly_as_given(client: Client, actor: Actor, args: Any) -> None:
    spec = RunSpec(id="exact", args=args)
    assert spec.call() == Call(func="approval", args=args)
    runs = Runs(client, actor)
    assert runs.start(spec).created
    assert not runs.start(spec).created


@pytest.mark.usefixtures("run")
def test_the_steps_before_a_request_are_told_by_tags(client: Client, actor: Actor) -> None:
    seen = Inbox(client, actor).show("r.1.0")
    assert [step.promise.id for step in seen.before] == ["r.0"]
