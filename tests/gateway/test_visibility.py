"""Who reads what where not everyone sees everything: all routes, calls and tools, in each role."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
from contextlib import closing
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import pytest

from hitl_cli.auth import tokens
from hitl_cli.client.protocol import ProtocolRequest, as_promise, search
from hitl_cli.client.tags import ORIGIN_TAG
from hitl_cli.client.wire import encode
from hitl_cli.gateway.app import ROUTES
from hitl_cli.gateway.example_routes import ROUTES as EXAMPLES
from hitl_cli.inbox import Inbox
from hitl_cli.mcp.tools import TOOLS
from hitl_cli.people.actor import PERMISSIONS, Actor
from hitl_cli.people.callbacks import CallbackSettings
from hitl_cli.people.contacts import Contact, Directory, GroupContact
from hitl_cli.people.visibility import RoleSettings, Visibility, VisibilitySettings
from hitl_cli.remote.calls import CALLS
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.question import Question
from hitl_cli.rules.rule import NewRule
from hitl_cli.rules.rules import Rules
from hitl_cli.runs import Runs
from hitl_cli.runs.run import RunSpec
from tests.conftest import Hitl
from tests.gateway.streams import Reader
from tests.gateway.visiting import Browser, Visited

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hitl_cli.client.protocol import Client

DAY_MS = 86_400_000

DEPUTY = "MARK-deputy"
"""The name of who stands in for an assignee who is away: who sees the absence reads it."""

ASKED = ("former", "assignee", "second", DEPUTY, "member")
PEOPLE = ("stranger", "asker", *ASKED, "starter", "auditor", "operator")
PRIVATE = ("details.inner.a", "arguments.amount", "form.size")
"""Private parts: of one request by its author, of another by the settings."""

DIRECTORY = Directory(
    people={name: Contact() for name in PEOPLE},
    groups={"ops": GroupContact(members=("member",)), "desk": GroupContact(members=("operator",))},
    visibility=Visibility(
        settings=VisibilitySettings(
            default="assigned", workflows={"lunch*": "everyone"}, private={"lunch-1": PRIVATE}
        ),
        roles=RoleSettings(auditor=("auditor",), operator=("group:desk",)),
    ),
)

OPEN, DONE, RUN, ASKS, RULE, LUNCH, INNER = (
    f"MARK-{name}" for name in ("open", "done", "run", "asks", "rule", "lunch", "private")
)
"""What is said in each request, run and rule, and nowhere else."""

READ: dict[str, set[str]] = {
    "former": set(),
    "asker": {OPEN, DONE, INNER, DEPUTY},
    DEPUTY: {OPEN, DONE, DEPUTY},
    "assignee": {
        OPEN,
        DONE,
        RUN,
        ASKS,
        RULE,
        INNER,
        DEPUTY,
    },  # who is asked is shown the call of the run that asks
    "member": {OPEN, DONE, INNER, DEPUTY},
    "starter": {RUN, ASKS},
    "auditor": {OPEN, DONE, RUN, ASKS, RULE, INNER, DEPUTY},
    "operator": {RUN, DEPUTY},
}
"""Who reads which of them; the last one is read by everyone with `read`."""

IDS = ("s-open", "s-key", "s-done", "s-run", "s-run:1")
PUBLIC_IDS = ("lunch-1", "lunch-2")
MISSING = "x-"
"""Beginning of the ids of nothing, instead of that of the requests and runs."""


def inbox_of(client: Client, person: str) -> Inbox:
    return Inbox(client, Actor(person=person, via="test", groups=DIRECTORY.members))


class Scene(NamedTuple):
    """The gateway, a token of each role, and what is there."""

    visited: Visited
    tokens: dict[str, str]
    rule: str
    link: str


@pytest.fixture(scope="module")
def hitl(tmp_path_factory: pytest.TempPathFactory) -> Hitl:
    return Hitl(tmp_path_factory.mktemp("visibility"))


@pytest.fixture(scope="module")
def scene(hitl: Hitl) -> Iterator[Scene]:
    visited = Visited(hitl, sign_in=True, directory=DIRECTORY, example_routes=True, plain_links=True)
    with hitl.client() as client:
        rule = fill(client)
        made = {
            name: tokens.create(client, name, PERMISSIONS, life_ms=DAY_MS, by="ops")[1] for name in PEOPLE
        }
        for name, can in (("ask-only", "ask"), ("read-only", "read")):
            made[name] = tokens.create(client, "stranger", (can,), life_ms=DAY_MS, by="ops")[1]
    yield Scene(visited, made, rule, visited.link("s-open", "member"))
    visited.stop()


def fill(client: Client) -> str:
    """Fill the server, and return the id of a rule."""
    asker, assignee, former = (inbox_of(client, name) for name in ("asker", "assignee", "former"))
    inbox_of(client, "second").go_away(until=client.now() + DAY_MS, to=DEPUTY)
    for id, said in (("s-open", OPEN), ("s-done", DONE)):
        question = Question(
            prompt=f"{said}?", details={"of": said}, to=("former", "second"), reassign="assignees"
        )
        asker.ask(question, id=id, key="s-key" if id == "s-open" else None, deadline_ms=DAY_MS)
        former.comment(id, f"{said} by who was asked before")
        former.ask_back(id, f"{said}, which?")
        former.claim(id)
        former.assign(id, ["assignee", "second", "group:ops"], DIRECTORY, "default")
        assignee.comment(id, f"about {said}")
    assignee.decide("s-done", DecisionInput(verdict="approve", data={"of": DONE}, comment=f"for {DONE}"))
    put_lunch(client, "lunch-1", "assignee")
    put_lunch(client, "lunch-2", "assignee", "member")
    starter = Actor(person="starter", via="test", groups=DIRECTORY.members)
    Runs(client, starter).start(RunSpec(id="s-run", workflow="payroll", args=[RUN]))
    asks = Question(prompt=f"{ASKS}?", to=("assignee",), details=INNER, private=("details",))
    tags = asks.tags(key=None, workflow="payroll")
    tags |= {"resonate:external": "true", "resonate:scope": "global", "resonate:origin": "s-run"}
    asked = {"id": "s-run:1", "param": encode(msgspec.to_builtins(asks)), "tags": tags}
    later = client.now() + DAY_MS
    as_promise(client.call_many([ProtocolRequest("promise.create", asked | {"timeoutAt": later})])[0])
    rule = NewRule(verdict="reject", where={"tool": RULE}, asker="lead")
    return Rules(client, assignee.actor).add(rule, life_ms=DAY_MS).id


def put_lunch(client: Client, id: str, *voters: str) -> None:
    """Put a request that everyone sees, except its private parts, and vote on it."""
    lunch = Question(
        prompt=f"{LUNCH}?",
        to=("assignee", "group:ops"),
        details={"inner": {"a": INNER, "b": 1}},
        arguments={"amount": INNER, "to": "x"},
        form={"type": "object", "properties": {"size": {"type": "string", "default": INNER}}},
        approvals=2,
        reassign="anyone",
        extend=DAY_MS,
        callback=f"https://ci.example.org/{INNER}",
        private=() if id == "lunch-1" else PRIVATE,
    )
    allowed = CallbackSettings(hosts=("ci.example.org",))
    inbox_of(client, "asker").ask(lunch, id=id, deadline_ms=DAY_MS, callbacks=allowed)
    for voter in voters:
        inbox_of(client, voter).decide(id, DecisionInput(verdict="approve", data={"size": INNER}))


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str


class Visitor:
    """Sends requests to a gateway as one role, over one connection."""

    def __init__(self, scene: Scene, role: str) -> None:
        parts = urlsplit(scene.visited.address)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        self._token = scene.tokens.get(role)

    def close(self) -> None:
        self._connection.close()

    def send(self, method: str, path: str, body: str = "", **headers: str) -> Answer:
        sent = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        sent |= {"Authorization": f"Bearer {self._token}"} if self._token else {}
        self._connection.request(method, path, body or None, sent | headers)
        answer = self._connection.getresponse()
        kept = {name: value for name, value in answer.getheaders() if name in ("Location", "ETag", "Link")}
        return Answer(answer.status, kept, answer.read().decode())


STREAMS = {"/api/v1/events", "/l/{token}/events"}
ELSEWHERE = {"/api/v1/me/token", "/api/v1/commands/{name}", "/mcp"}
"""Routes that end the token, and that are walked by their calls and tools."""

PUBLIC = ("/static/", "/sign-in", "/hooks/", "/api/v1/login")
"""Routes that show no request, whoever sends them."""

BODIES: dict[str, Any] = {
    "/api/v1/requests": {"prompt": "?", "id": "zzzzzzzz"},
    "/api/v1/requests/{id}/decision": {"verdict": "approve"},
    "/api/v1/requests/{id}/comments": {"comment": "x"},
    "/api/v1/requests/{id}/assign": {"to": ["member"]},
    "/api/v1/requests/{id}/claim": {},
    "/api/v1/requests/{id}/use": {"key": "k"},
    "/api/v1/requests/{id}/deferral": {"session": "s", "cwd": "/", "host": "h", "pid": 1},
    "/api/v1/requests/{id}/deferral/take": {"key": "k"},
    "/api/v1/agent-states/{id}": {"state": "{}"},
    "/api/v1/runs": {"id": "new-run", "workflow": "other"},
    "/api/v1/rules": {"for": "8h", "tool": "Read", "deny": True},
    "/start-workflow": {"workflow_id": "new-run-2"},
    "/start": {"email": "a@example.org"},
    "/confirm": {"email": "a@example.org"},
}
FORMS = {
    "/r/{id}": "verdict=approve",
    "/runs/{id}/cancel": "reason=x",
    "/rules/{id}/remove": "x=1",
    "/away": "until=2030-01-01&to=MARK",
    "/many": "verdict=approve&id=s-open&id=s-run:1&id=s-done",
}
KINDS = ("csv", "excel.csv", "ndjson")


QUERIES = {
    "/api/v1/requests": "for=me limit=1 sort=due&limit=1 sort=priority&limit=1 from=asker to=assignee",
    "/": "all=1 all=1&q=MARK all=1&workflow=pay all=1&page=2",
    "/api/v1/history": "limit=1 by=assignee id=s-done id=s-run id=s-key",
    "/api/v1/requests/{id}": "stored=true&wait=1ms",
    "/unblock-workflow": "promise_id=s-open",
}
"""Queries of routes, besides none."""


def places(scene: Scene, *, only_read: bool, ids: Sequence[str] = ()) -> Iterator[tuple[str, str, str]]:
    """Yield each route with the ids of what is there: its method, its pattern, and the place."""
    for route in [*ROUTES, *EXAMPLES]:
        path = re.sub(r"\{(\w+)[^}]*\}", r"{\1}", route.path)
        method = "GET" if route.method == "*" else route.method
        if path in ELSEWHERE | STREAMS or path.startswith(PUBLIC):
            continue
        if only_read and (method != "GET" or path == "/unblock-workflow"):
            continue
        named = [scene.rule] if "rules" in path else ids or ([*IDS, *PUBLIC_IDS] if only_read else IDS)
        for id, kind in product(named if "{id}" in path else [""], KINDS if "{kind}" in path else [""]):
            place = path.replace("{id}", id).replace("{kind}", kind).replace("{token}", "t")
            yield method, path, place
            yield from ((method, path, f"{place}?{query}") for query in QUERIES.get(path, "").split())


def walk(
    role: Visitor, scene: Scene, *, only_read: bool, there: bool, ids: Sequence[str] = ()
) -> Iterator[tuple[str, str, Answer]]:
    """Yield each route, the place, and what it answers; unless `there`, the ids in it are of nothing."""
    for method, path, place in places(scene, only_read=only_read, ids=ids):
        at = place if there else missing(place, scene)
        if method == "POST" and path in FORMS:
            form = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
            sent = FORMS[path] if there else missing(FORMS[path], scene)
            yield path, f"{at} {sent}", role.send(method, at, sent, **form)
        elif method == "POST":
            body = json.dumps(BODIES.get(path, {}))
            yield path, at, role.send(method, at, body)
            if path.endswith("/decision"):
                yield path, at, role.send(method, at, body, **{"Idempotency-Key": "k"})
        else:
            yield path, at, role.send(method, at, Accept="text/html" if "/api" not in path else "*/*")


def missing(text: str, scene: Scene) -> str:
    """Return a text with the ids of nothing instead of those of what is there."""
    for id in (*IDS, scene.rule):
        text = text.replace(id, id.replace("s-", MISSING) if id in IDS else "x" * len(id))
    return text


ARGS: dict[str, Any] = {
    "said": {"verdict": "approve"},
    "text": "x",
    "key": "k",
    "sort": "age",
    "limit": 100,
    "wanted": {},
    "ago_ms": DAY_MS,
    "state": None,
    "names": ["assignee"],
    "add": False,
    "to": ["assignee"],
    "ms": DAY_MS,
    "until": None,
    "by": DAY_MS,
    "whole": False,
    "group": "default",
    "deadline_ms": DAY_MS,
    "specs": [],
    "asked": {"prompt": "?", "id": "zzzzzzzz"},
}
"""Arguments of the calls, of which each takes its own."""


NAMELESS = {"me", "requests", "ask", "silent", "history", "stats", "start", "runs", "workflows", "workers"}
"""The calls that name no request and no run."""

CHANGE = {
    "decide",
    "assign",
    "claim",
    "release",
    "extend",
    "comment",
    "ask",
    "notify",
    "withdraw",
    "consume",
    "start",
    "cancel",
    "take_back",
    "wait",
}
"""The calls and tools that change something, or that wait for a person."""


def calls(
    role: Visitor, scene: Scene, *, only_read: bool, there: bool, ids: Sequence[str] = ()
) -> Iterator[tuple[str, str, Answer]]:
    """Yield each call of commands, and each tool, and what it answers."""
    named = ids or ([*IDS, *PUBLIC_IDS] if only_read else IDS)
    for call in [name for name in CALLS if not (only_read and name in CHANGE)]:
        for id in named if call not in NAMELESS else ("",):
            name = id if there else missing(id, scene)
            args = ARGS | {"name": name, "id": name, "whole": id.endswith("key")}
            yield (
                f"call {call}",
                name,
                role.send("POST", f"/api/v1/commands/{call}", json.dumps({"args": args})),
            )
    for tool in TOOLS:
        if tool.name in ("ask", "approval_prompt") or (only_read and tool.name in CHANGE):
            continue  # the first ones wait for a person, and show nothing but that
        for id in (ids or IDS) if "id" in tool.arguments.__struct_fields__ else ("",):
            name = id if there else missing(id, scene)
            params = {"name": tool.name, "arguments": {"id": name} if id else {}}
            body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
            yield f"tool {tool.name}", name, role.send("POST", "/mcp", body)


def everything(
    scene: Scene, role: str, *, only_read: bool = False, there: bool = True
) -> list[tuple[str, str, Answer]]:
    with closing(Visitor(scene, role)) as visitor:
        return [
            *walk(visitor, scene, only_read=only_read, there=there),
            *calls(visitor, scene, only_read=only_read, there=there),
        ]


def marks_in(answers: list[tuple[str, str, Answer]]) -> dict[str, list[str]]:
    """Return where each of what is said can be read."""
    found: dict[str, list[str]] = {}
    for where, name, answer in answers:
        for mark in set(re.findall(r"MARK-\w+", f"{_decoded(answer.text)} {answer.headers}")):
            found.setdefault(mark, []).append(f"{where} {name}")
    return found


def _decoded(text: str) -> str:
    """Return a text with what is in it in base64, as the data of promises is."""
    found = [text]
    for data in re.findall(r"[A-Za-z0-9+/]{8,}={0,2}", text):
        with contextlib.suppress(ValueError):
            found.append(base64.b64decode(data, validate=True).decode(errors="replace"))
    return " ".join(found)


@pytest.mark.parametrize("role", ["nobody", "former", "ask-only", "read-only"])
def test_what_may_not_be_seen_is_answered_as_what_does_not_exist(scene: Scene, role: str) -> None:
    seen, nothing = everything(scene, role), everything(scene, role, there=False)
    assert len(seen) > 200
    for (where, name, answer), (_, other, instead) in zip(seen, nothing, strict=True):
        if name == other:
            assert not re.findall(r"\bs-(?:open|done|key|run)", answer.text), (where, name)
        else:
            assert _timeless(missing(json.dumps(answer), scene)) == _timeless(json.dumps(instead)), (
                where,
                name,
            )
    found = marks_in(seen)
    assert found.keys() <= {LUNCH}, found


def _timeless(text: str) -> str:
    """Return a text without what differs between two calls at two times."""
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z|\b\d{13}\b|hitl_\w+|\"ag\w+\": ?\d+|\b[0-9a-f]{64}\b", "", text)


@pytest.mark.parametrize("role", READ)
def test_each_role_reads_what_it_may(scene: Scene, role: str) -> None:
    answers = everything(scene, role, only_read=True)
    failed = [(where, name, answer.status) for where, name, answer in answers if answer.status >= 500]
    assert not failed
    found = marks_in(answers)
    assert found.keys() == READ[role] | {LUNCH}, {mark: found[mark] for mark in found.keys() - READ[role]}


def test_no_change_and_no_refusal_tells_a_private_part(scene: Scene, hitl: Hitl) -> None:
    with hitl.client() as client:
        put_lunch(client, "lunch-3", "assignee", "member")
        put_lunch(client, "lunch-4", "assignee")
        ids = [one.id for id in ("lunch-3", "lunch-4") for one in search(client, tags={ORIGIN_TAG: id})]
    assert len(ids) > 2
    with closing(Visitor(scene, "stranger")) as visitor:
        answers = [*walk(visitor, scene, only_read=False, there=True, ids=ids)]
        answers += calls(visitor, scene, only_read=False, there=True, ids=ids)
    found = marks_in(answers)
    assert LUNCH in found
    assert INNER not in found, found[INNER]


def test_events_are_of_what_a_reader_sees(scene: Scene, hitl: Hitl) -> None:
    def reader(role: str, query: str = "") -> Reader:
        return Reader(scene.visited.address, query, {"Authorization": f"Bearer {scene.tokens[role]}"})

    ids = ("s-open", "s-run:1", "lunch-1")  # of others, changed by the test before, a reader may be told late
    with (
        reader("stranger") as stranger,
        reader("stranger", "?for=me") as mine,
        reader("former", "?for=me") as former,
        reader("member") as member,
        reader("starter") as starter,
        reader("auditor") as auditor,
    ):
        readers = (stranger, mine, former, member, starter, auditor)
        for one in readers:
            one.wait_for("ready")
        with hitl.client() as client:
            for id in ids:
                inbox_of(client, "auditor").comment(id, "seen?")
            asker = inbox_of(client, "asker")
            moved = Question(prompt="moved?", to=("former",), reassign="assignees")
            asker.ask(moved, id="moved", deadline_ms=DAY_MS)
            former.wait_for("request.asked", "moved")
            asker.assign("moved", ["second"], Directory(), "default")
            former.wait_for("look")  # they may not see it any more, and their page shows it still
            asker.ask(Question(prompt="last?"), id="last", deadline_ms=DAY_MS)
        for one in readers:
            one.wait_for("request.asked", "last")
        assert [one for one in readers if any(seen.name == "look" for seen in one.seen)] == [former]
        told = [{seen.data["id"] for seen in one.seen if seen.data.get("id") in ids} for one in readers]
    assert told == [{"lunch-1"}, set(), set(), {"s-open", "lunch-1"}, {"s-run:1", "lunch-1"}, set(told[-1])]
    assert told[-1] == {"s-open", "s-run:1", "lunch-1"}


@pytest.mark.parametrize(
    "path", ["/runs?state=expired", "/history?by=nobody&outcome=expired", "/away", "/stats"]
)
def test_an_empty_page_says_if_there_may_be_more_than_one_sees(scene: Scene, path: str) -> None:
    pages = {}
    for role in ("stranger", "auditor"):
        with closing(Visitor(scene, role)) as visitor:
            pages[role] = visitor.send("GET", path).text
    assert {role: "may see" in page for role, page in pages.items()} == {"stranger": True, "auditor": False}


def test_a_link_shows_its_request_and_no_other(scene: Scene) -> None:
    page = Browser(scene.visited.address).get(scene.link)
    assert page.status == 200
    assert set(re.findall(r"MARK-\w+", page.text)) == {OPEN, DEPUTY}
    assert "/runs/" not in page.text
