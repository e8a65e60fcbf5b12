"""Commands at a gateway, after `hitl login`: as on the server itself, as the person who signed in."""

from __future__ import annotations

import json
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.auth import tokens
from hitl_cli.cli.mcp import check_may_ask
from hitl_cli.cli.review.session import Look, ReviewSession
from hitl_cli.errors import HitlError, NotAllowed, NotFound
from hitl_cli.format.times import iso
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.decision_result import DecisionResult
from hitl_cli.inbox.history import EVERYTHING as HISTORY
from hitl_cli.inbox.pending import RequestFilter
from hitl_cli.inbox.review_queue import HOLD_MS
from hitl_cli.people.actor import Actor
from hitl_cli.people.contacts import Contact, Directory, GroupContact
from hitl_cli.proof.signing import ssh_signer
from hitl_cli.remote.client import RemoteClient
from hitl_cli.remote.inbox import RemoteInbox
from hitl_cli.remote.runs import RemoteRuns
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.question import Question
from hitl_cli.runs import Runs
from tests.cli.requests import promise_now, put
from tests.conftest import PATIENCE_S, Hitl, wait_until
from tests.gateway.visiting import Visited

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


FORM = {
    "type": "object",
    "properties": {"amount": {"type": "integer", "maximum": 10}, "why": {"type": "string"}},
    "required": ["amount"],
}
CHANGING = ("age_s", "answer_with", "since", "at", "unknown_names")
"""What depends on the time, on what was typed, or on the settings, which only the gateway has here."""


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("ssh") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file], check=True)
    return file


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, key: Path) -> Iterator[Visited]:
    """A gateway with people, on a server of its own."""
    public = key.with_suffix(".pub").read_text().strip()
    people = {
        "reviewer": Contact(email="reviewer@example.org", ssh=(public,)),
        "lead": Contact(),
    }
    directory = Directory(people=people, groups={"ops": GroupContact(members=("reviewer",))})
    visited = Visited(Hitl(tmp_path_factory.mktemp("server")), sign_in=True, directory=directory)
    visited.hitl.ok("start", "r-1", "--workflow", "deploy")
    yield visited
    visited.stop()


def token_for(gateway: Visited, person: str, *can: str) -> str:
    with gateway.hitl.client() as client:
        return tokens.create(client, person, can, life_ms=3_600_000, by="ops")[1]


@pytest.fixture(scope="module")
def far(gateway: Visited, tmp_path_factory: pytest.TempPathFactory) -> Hitl:
    """The command on another machine, signed in as reviewer, with the gateway as its server."""
    hitl = Hitl(tmp_path_factory.mktemp("far"))
    text = token_for(gateway, "reviewer", "decide", "start")
    hitl.ok("login", gateway.address, "--token", "-", stdin=text)
    hitl.env["HITL_SERVER"] = gateway.address
    return hitl


def still(document: Any) -> Any:
    """Return a document without what changes by itself."""
    if isinstance(document, list):
        return [still(one) for one in document]
    if isinstance(document, dict):
        return {name: still(value) for name, value in document.items() if name not in CHANGING}
    return document


@pytest.mark.parametrize("command", ["pending", "show seen-1", "history", "status r-1"])
def test_the_json_is_that_of_the_server(gateway: Visited, far: Hitl, command: str) -> None:
    asked = Question(prompt="Ship *it*?\nNow.", form=FORM, to=("group:ops",))
    put(gateway.hitl, "seen-1", asked, by="lead")
    put(gateway.hitl, "seen-2", Question(prompt=""))
    here, there = (hitl.json(*command.split()) for hitl in (gateway.hitl, far))
    ours = still(here) if command != "show seen-1" else still(here) | {"without_contact": []}
    assert still(there) == ours


def test_what_is_read_is_what_the_server_has(gateway: Visited) -> None:
    client = RemoteClient(gateway.address, token_for(gateway, "reviewer", "read"))
    with gateway.hitl.client() as server:
        actor = Actor(person="reviewer", via="cli", groups=gateway.options.directory.members)
        here, there = Runs(server, actor), RemoteRuns(client)
        assert there.list(limit=1) == here.list(limit=1)
        assert there.workflows() == here.workflows()
        put(gateway.hitl, "told", Question(prompt="Old?"))
        Inbox(server, actor).comment("told", "soon")
        Inbox(server, actor).decide("told", DecisionInput(verdict="approve"))
        inbox, far = Inbox(server, actor), RemoteInbox(client)
        assert far.story("told", HISTORY) == inbox.story("told", HISTORY)
        assert far.stats(3_600_000).figures == inbox.stats(3_600_000).figures
        assert far.find("told").question == inbox.find("told").question
        assert list(far.decisions(HISTORY)) == list(inbox.decisions(HISTORY)) != []
        for missing in (far.find, there.show, there.steps):
            with pytest.raises(NotFound):
                missing("nothing-1")


def test_a_decision_is_of_the_person_who_signed_in(gateway: Visited, far: Hitl) -> None:
    put(gateway.hitl, "pay-1", Question(prompt="Pay?", form=FORM, to=("group:ops",)))
    assert "pay-1" in far.ok("pending", "--mine")
    far.fails(2, "approve", "pay-1", "--set", "amount=11", code="does-not-fit-form")
    made = far.json("approve", "pay-1", "--set", "amount=7", "--comment", "fine")
    assert (made["by"], made["via"], made["data"]) == ("reviewer", "cli", {"amount": 7})
    [entry] = gateway.hitl.json("history", "pay-1")
    assert (entry["by"], entry["via"], entry["comment"]) == ("reviewer", "cli", "fine")
    assert far.ok("approve", "pay-1", "--set", "amount=7")
    far.fails(4, "reject", "pay-1", code="already-decided")


def test_several_at_once_and_words(gateway: Visited, far: Hitl) -> None:
    for number in range(3):
        put(gateway.hitl, f"many-{number}", Question(prompt="Go?", to=("reviewer",)))
    put(gateway.hitl, "many-9", Question(prompt="Go?", to=("lead",)))
    planned = far.run("approve", "--match", "many-*", "--dry-run", "--json")
    assert [one["problem"] is None for one in json.loads(planned.stdout)] == [True, True, True, False]
    done = far.run("approve", "--match", "many-*", "--yes", "--json")
    assert (done.returncode, len(json.loads(done.stdout))) == (7, 4)
    put(gateway.hitl, "color", Question(prompt="Which?", choices=("red", "blue")))
    assert far.json("answer", "color", "red")["choice"] == "red"
    put(gateway.hitl, "no", Question(prompt="Sure?"))
    assert far.json("reject", "no", "--reason", "too dear")["reason"] == "too dear"
    assert far.json("comment", "no", "really")["by"] == "reviewer"


@pytest.mark.parametrize(
    ("command", "exit_code", "code"),
    [
        ("show nothing-1", 3, "not-found"),
        ("open nothing-1", 3, "not-found"),
        ("pending --as lead", 2, "bad-usage"),
        ("prune --older 30d --yes", 2, "bad-server"),
        ("rule list", 1, "needs-server"),
        ("link create r-1 --for lead", 1, "needs-server"),
        ("worker", 1, "needs-server"),
        ("gateway", 1, "needs-server"),
        ("mcp", 1, "needs-server"),
        ("hook resume --once", 1, "needs-server"),
    ],
)
def test_what_cannot_be_done_is_said_with_the_same_code(
    far: Hitl, command: str, exit_code: int, code: str
) -> None:
    far.fails(exit_code, *command.split(), code=code)


def test_a_request_is_asked_and_waited_for(gateway: Visited, far: Hitl) -> None:
    asked = far.run("ask", "Deploy?", "--id", "ask-7", "--to", "ops", "--no-wait")
    assert asked.stdout.split() == ["ask-7"]
    shown = gateway.hitl.json("show", "ask-7")
    assert (shown["from"], shown["to"]) == ("reviewer", ["group:ops"])
    assert far.fails(5, "ask", "--id", "ask-7", "--timeout", "1ms", code="timed-out")
    waiting = far.popen("ask", "Deploy?", "--id", "ask-7", "--to", "ops")
    far.ok("approve", "ask-7", "--data", "3")
    out, _ = waiting.communicate(timeout=30)
    assert (waiting.returncode, out.strip()) == (0, "3")
    assert far.ok("wait", "ask-7").strip() == "3"
    far.fails(4, "ask", "Another?", "--id", "ask-7", "--to", "ops", "--no-wait", code="question-differs")


def test_the_groups_of_the_gateway_say_how_many_can_approve(far: Hitl) -> None:
    file = far.folder / "hitl.toml"
    file.write_text("[groups.ops]\nmembers = []\n[groups.else]\nmembers = []\n")
    try:
        several = ("ask", "Ship?", "--no-wait", "--approvals", "2", "--to")
        far.fails(2, *several, "group:ops", code="bad-question")  # one member there
        assert far.ok(*several, "group:else")  # not known there
    finally:
        file.unlink()


def test_an_approval_is_used_once_and_a_request_is_taken_back(gateway: Visited, far: Hitl) -> None:
    far.ok("ask", "Deploy?", "--id", "once-1", "--to", "ops", "--once", "--no-wait")
    far.ok("approve", "once-1")
    assert far.ok("ask", "Deploy?", "--id", "once-1", "--to", "ops", "--once") == "true\n"
    far.fails(4, "ask", "Deploy?", "--id", "once-1", "--to", "ops", "--once", code="approval-used")
    kinds = [entry["kind"] for entry in gateway.hitl.json("history", "once-1")]
    assert kinds == ["decision", "use"]
    asking = far.popen("ask", "Deploy?", "--id", "back-9", "--to", "ops", "--cancel-on-exit")
    assert asking.stderr is not None
    assert next(line for line in asking.stderr if "Request " in line)  # it waits
    asking.terminate()
    asking.communicate(timeout=PATIENCE_S)
    assert promise_now(gateway.hitl, "back-9")["state"] == "rejected_canceled"


def test_runs_are_started_shown_and_canceled(gateway: Visited, far: Hitl) -> None:
    started = far.run("start", "run-7", "1.4", "--workflow", "deploy", "--json")
    assert json.loads(started.stdout)["id"] == "run-7"
    assert "No worker" in started.stderr
    far.fails(4, "start", "run-7", "1.5", "--workflow", "deploy", code="already-exists")
    many = far.run("start", "--stdin", "--workflow", "deploy", "--json", stdin="run-8\nrun-9\n")
    assert [one["id"] for one in json.loads(many.stdout)] == ["run-8", "run-9"]
    assert "run-7" in far.ok("status")
    far.fails(5, "wait", "run-7", "--timeout", "1ms", code="timed-out")
    far.ok("cancel", "run-7", "--reason", "enough")
    far.fails(1, "wait", "run-7", code="run-failed")
    assert gateway.hitl.json("status", "run-7")["state"] == "canceled"


def test_a_decision_is_signed_on_the_machine_of_the_person(gateway: Visited, far: Hitl, key: Path) -> None:
    put(gateway.hitl, "signed-1", Question(prompt="Sign?", proof="signed", arguments={"a": 1}))
    far.fails(7, "approve", "signed-1", code="proof-needed")
    made = far.json("approve", "signed-1", "--sign", "--key", str(key))
    assert made["by"] == "reviewer"
    shown = far.json("show", "signed-1")["decision"]
    assert [one["state"] for one in shown["proof"]] == ["proven"]
    other = key.with_name("other")
    if not other.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    put(gateway.hitl, "signed-2", Question(prompt="Sign?", proof="signed"))
    far.fails(2, "approve", "signed-2", "--sign", "--key", str(other), code="no-key")


def test_an_ssh_key_signs_nothing_that_needs_a_passkey(gateway: Visited, far: Hitl) -> None:
    put(gateway.hitl, "touch-1", Question(prompt="Touch?", proof="passkey"))
    far.fails(7, "approve", "touch-1", "--key", str(far.folder / "no-such-key"), code="proof-needed")


def test_a_signature_of_another_request_or_decision_is_refused_at_the_gateway(
    gateway: Visited, key: Path
) -> None:
    for number in (1, 2):
        put(gateway.hitl, f"swap-{number}", Question(prompt="Sign?", proof="signed"))
    client = RemoteClient(gateway.address, token_for(gateway, "reviewer", "decide"))
    inbox = RemoteInbox(client)
    signer = ssh_signer(key, (key.with_suffix(".pub").read_text().strip(),))
    sent: list[Any] = []
    inbox.signer = signer
    inbox._decided = sent.append  # type: ignore[method-assign,assignment]
    inbox.decide("swap-1", DecisionInput(verdict="approve"))
    [signed] = sent
    for name, said in (("swap-2", signed.said), ("swap-1", DecisionInput(verdict="reject"))):
        forged = type(signed)(name=name, whole=True, said=said, proof=signed.proof)
        with pytest.raises(HitlError) as refused:
            client.ask("decide", forged, DecisionResult)
        assert refused.value.code == "bad-proof"
    assert client.ask("decide", signed, DecisionResult).audit.by == "reviewer"


def test_a_token_that_may_only_ask_sees_what_it_asked(gateway: Visited, tmp_path: Path) -> None:
    hitl = Hitl(tmp_path)
    hitl.env["HITL_SERVER"] = gateway.address
    text = token_for(gateway, "agent", "ask")
    put(gateway.hitl, "of-others", Question(prompt="Secret?"))
    hitl.env["RESONATE_TOKEN"] = text
    own = hitl.ok("ask", "May I?", "--id", "mine", "--no-wait").strip()
    assert [one["id"] for one in hitl.json("pending")] == [own]
    hitl.fails(3, "show", "of-others", code="not-found")
    hitl.fails(7, "approve", own, code="permission-missing")
    hitl.fails(7, "status", code="permission-missing")


def completed(hitl: Hitl, words: str, **env: str) -> str:
    """What the Tab key offers."""
    asked = {"_HITL_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": words}
    return hitl.run(env={**env, **asked}).stdout


def test_completion_is_of_the_gateway(gateway: Visited, far: Hitl) -> None:
    put(gateway.hitl, "complete-me", Question(prompt="Complete?"))
    assert "complete-me" in completed(far, "hitl approve compl")


def test_whoami_takes_the_gateway_and_the_token_of_all_commands(gateway: Visited, tmp_path: Path) -> None:
    hitl, text = Hitl(tmp_path), token_for(gateway, "lead", "read")
    for args in (["-S", gateway.address, "whoami"], ["whoami", gateway.address]):
        assert hitl.json("--token", text, *args)["as"] == "lead"
    hitl.fails(2, "-S", gateway.address, "whoami", gateway.address, code="bad-usage")
    hitl.fails(3, "-S", hitl.url, "whoami", code="not-found")


@pytest.mark.parametrize("token", ["nonsense", "hitl_0123456789abcdef_" + 43 * "x"])
def test_a_token_on_the_command_line_is_refused_and_never_ignored(far: Hitl, token: str) -> None:
    said = far.fails(6, "pending", "--token", token, code="token-refused")
    assert "hitl login" not in said  # --token goes before a login
    far.fails(6, "--token", token, "whoami", code="token-refused")
    assert far.run("pending", env={"RESONATE_TOKEN": "a.server.token"}).returncode == 0


def test_the_token_of_a_gateway_is_in_its_variable_or_an_option(gateway: Visited, tmp_path: Path) -> None:
    hitl, text = Hitl(tmp_path), token_for(gateway, "reviewer", "decide")
    at, own = ("-S", gateway.address), {"HITL_TOKEN": text}
    put(gateway.hitl, "token-1", Question(prompt="Complete?"))
    put(gateway.hitl, "token-2", Question(prompt="Complete?"))
    for env in (own, {"RESONATE_TOKEN": text}, {**own, "RESONATE_TOKEN": "a.server.token"}):
        assert hitl.run("show", "token-1", *at, env=env).returncode == 0
        assert "token-1" in completed(hitl, f"hitl -S {gateway.address} approve tok", **env)
        assert "token-1" in completed(hitl, f"hitl approve -S {gateway.address} tok", **env)
    hitl.fails(6, "pending", *at, env={**own, "RESONATE_TOKEN": text, "HITL_TOKEN": "hitl_x"})
    assert "token-1" in completed(hitl, f"hitl -S {gateway.address} -T {text} approve tok")
    assert "token-1" in completed(hitl, f"hitl approve -S {gateway.address} -T {text} tok")
    approved = hitl.run("approve", "token-2", *at, "--json", env=own)
    assert json.loads(approved.stdout)["by"] == "reviewer"
    started = gateway.hitl.json("start", "begun-1")["id"]
    assert started in completed(hitl, f"hitl -S {gateway.address} cancel beg", **own)
    for command in ("worker", "mcp"):
        hitl.fails(1, command, *at, env=own, code="needs-server")


def test_the_variable_goes_before_the_login(gateway: Visited, far: Hitl) -> None:
    put(gateway.hitl, "before-1", Question(prompt="Sure?"))
    env = {"HITL_TOKEN": token_for(gateway, "lead", "decide")}
    for at in ((), (gateway.address,)):
        assert json.loads(far.run("whoami", *at, "--json", env=env).stdout)["as"] == "lead"
    assert far.json("whoami")["as"] == "reviewer"
    refused = far.run("pending", env={"HITL_TOKEN": "hitl_wrong_x"})
    assert refused.returncode == 6
    assert "HITL_TOKEN" in refused.stderr
    assert "hitl login" not in refused.stderr
    assert json.loads(far.run("approve", "before-1", "--json", env=env).stdout)["by"] == "lead"


def test_doctor_says_who_it_is_at_a_gateway(far: Hitl, tmp_path: Path) -> None:
    report = far.json("doctor")
    found = {one["name"]: one for one in report["findings"]}
    assert report["reachable"]
    assert "reviewer" in found["gateway"]["text"]
    assert report["worker"] in (True, False)
    env = {"HITL_TOKEN": "hitl_wrong_x", "HITL_SERVER": far.env["HITL_SERVER"]}
    Hitl(tmp_path).fails(6, "doctor", env=env, code="token-refused")


@pytest.mark.parametrize("command", [("pending",), ("worker",), ("mcp",)], ids=str)
def test_a_gateway_without_login_says_what_it_is_and_how_to_sign_in(
    gateway: Visited, tmp_path: Path, command: tuple[str, ...]
) -> None:
    hitl = Hitl(tmp_path)
    said = hitl.fails(6, *command, "-S", gateway.address, code="server-failed")
    assert "gateway of hitl" in said
    assert f"hitl login {gateway.address}" in said


@pytest.mark.parametrize(
    ("can", "exit_code", "code"), [((), 6, "unauthenticated"), (("decide",), 7, "permission-missing")]
)
def test_an_agent_learns_at_the_start_that_its_token_cannot_ask(
    gateway: Visited, can: tuple[str, ...], exit_code: int, code: str
) -> None:
    with pytest.raises(HitlError) as refused:
        check_may_ask(gateway.address, token_for(gateway, "lead", *can) if can else None)
    assert (refused.value.exit_code, refused.value.code) == (exit_code, code)
    check_may_ask(gateway.address, token_for(gateway, "agent", "ask"))


def test_hitl_mcp_with_a_refused_token_ends_at_once(gateway: Visited, tmp_path: Path) -> None:
    at = ("mcp", "--gateway", gateway.address)
    Hitl(tmp_path).fails(6, *at, env={"HITL_TOKEN": "hitl_wrong_x"}, code="token-refused")


def test_requests_are_reviewed_at_a_gateway(gateway: Visited) -> None:
    put(gateway.hitl, "rev-1", Question(prompt="Well?", to=("lead",)))
    text, now = token_for(gateway, "lead", "decide"), [0]
    look = Look(Actor(person="lead", via="review"), RequestFilter(to=("lead",)), "age", False, None)
    desk = ReviewSession(
        lambda: RemoteClient(gateway.address, text), look, lambda seen, _: [seen.item.id], lambda: now[0]
    )
    desk.start()
    try:
        page = wait_until(lambda: desk.page(80))
        assert page is not None
        assert desk.hold(page.seen.item, DecisionInput(verdict="approve"))
        now[0] = HOLD_MS
        wait_until(lambda: promise_now(gateway.hitl, page.seen.item.id)["state"] == "resolved")
    finally:
        desk.end(send=False)
    [entry] = gateway.hitl.json("history", page.seen.item.id)
    assert (entry["by"], entry["via"]) == ("lead", "review")


def test_a_request_is_handed_over_and_claimed_as_who_signed_in(gateway: Visited, far: Hitl) -> None:
    asked = Question(prompt="Ship?", to=("group:ops", "boss"), reassign="assignees", extend=10**8)
    put(gateway.hitl, "over", asked, by="lead")
    assert far.json("claim", "over")["claimed_by"] == "reviewer"
    gateway.hitl.fails(4, "approve", "over", "--as", "boss", code="claimed")
    assert far.json("release", "over")["claimed_by"] is None
    assert far.json("extend", "over", "12h")["changed"]
    with gateway.hitl.client() as client:
        later = iso(Inbox(client, Actor(person="lead", via="test")).find("over").deadline + 60_000)
    assert far.json("extend", "over", "--until", later)["deadline"] == later
    far.fails(2, "extend", "over", code="bad-usage")
    assert far.json("assign", "over", "lead", "--add")["to"] == ["group:ops", "boss", "lead"]
    far.fails(2, "assign", "over", "laed", code="unknown-name")  # the settings of the gateway know it
    assert "lead" in far.ok("assign", "over", "lead")
    far.fails(7, "assign", "over", "reviewer", code="not-assignee")
    kinds = [one["kind"] for one in far.json("history", "over")]
    assert kinds == ["claim", "release", "extend", "extend", "assign", "assign"]


def test_it_is_asked_back_and_somebody_is_away_at_a_gateway(gateway: Visited) -> None:
    put(gateway.hitl, "back-1", Question(prompt="Pay?", to=("reviewer",)), by="lead")
    reviewer, lead = (
        RemoteInbox(RemoteClient(gateway.address, token_for(gateway, person, "read", "decide")))
        for person in ("reviewer", "lead")
    )
    waiting = {item.id for item in lead.list(RequestFilter(person="lead"))[0]}
    assert reviewer.ask_back("back-1", "Which account?").by == "reviewer"
    assert {item.id for item in lead.list(RequestFilter(person="lead"))[0]} - waiting == {"back-1"}
    assert lead.answer_back("back-1", "The second").number == 2
    made = reviewer.go_away(until=reviewer.client.now() + 3_600_000, to="lead")
    assert (made.person, [one.to for one in lead.aways()]) == ("reviewer", ["lead"])

    def decided() -> DecisionResult | None:
        with suppress(NotAllowed):  # the gateway's other connections know within a second who is away
            return lead.decide("back-1", DecisionInput(verdict="approve"))
        return None

    done = wait_until(decided)
    assert done is not None
    assert done.audit.deputy_for == ("reviewer",)
    assert reviewer.come_back()
