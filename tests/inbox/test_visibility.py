"""What `Inbox`, `Runs`, `Schedules` and `Ledger` show to whom, where not everyone sees everything."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.client.paging import cursor_of
from hitl_cli.errors import BadInput, Conflict, NotAllowed, NotFound
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.history import HistoryFilter
from hitl_cli.inbox.open_requests import OpenRequests
from hitl_cli.inbox.pending import RequestFilter
from hitl_cli.ledger import Ledger
from hitl_cli.people.actor import Actor
from hitl_cli.people.groups import groups_of
from hitl_cli.people.visibility import RoleSettings, Visibility, VisibilitySettings
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.question import Escalation, Question
from hitl_cli.runs import Runs
from hitl_cli.runs.run import RunSpec
from hitl_cli.runs.schedules import Schedules, ScheduleSpec
from hitl_cli.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.pending import Sort
    from hitl_cli.people.groups import Groups
    from hitl_cli.people.visibility import Audience
    from tests.conftest import Hitl

DAY_MS = 86_400_000


@pytest.fixture
def client(hitl: Hitl) -> Iterator[Client]:
    with hitl.client() as client:
        yield client


def seeing(default: Audience = "assigned", workflows: Mapping[str, Audience] = {}) -> Groups:
    """Return groups with an auditor and an operator."""
    roles = RoleSettings(auditor=("group:audit",), operator=("operator",))
    settings = VisibilitySettings(default=default, workflows=workflows)
    members = {"audit": ["auditor"], "ops": ["member"]}
    return groups_of(members, visibility=Visibility(settings=settings, roles=roles))


GROUPS = seeing()


def actor(person: str, groups: Groups = GROUPS, **more: Any) -> Actor:
    return Actor(person=person, via="test", groups=groups, **more)


def inbox(client: Client, person: str, **more: Any) -> Inbox:
    return Inbox(client, actor(person, **more))


def put(client: Client, id: str, *to: str, by: str = "asker", **said: Any) -> None:
    inbox(client, by).ask(Question(prompt=f"{id}?", to=to, **said), id=id, deadline_ms=DAY_MS)


def ids(client: Client, person: str, **more: Any) -> list[str]:
    return [item.id for item in inbox(client, person, **more).list()[0]]


def test_who_may_only_ask_and_read_takes_back_no_request_of_others(client: Client) -> None:
    for id in ("q", "own"):
        put(client, id, "lead", by="lead" if id == "own" else "asker")
    reader = inbox(client, "lead", may=frozenset({"ask", "read", "decide"}))
    with pytest.raises(NotAllowed) as refused:
        reader.withdraw(reader.asked("q"))
    assert refused.value.code == "not-asker"
    assert reader.find("q").waits
    for own, id in ((reader, "own"), (inbox(client, "lead"), "q")):
        assert own.withdraw(own.asked(id)).state == "rejected_canceled"


def test_who_is_asked_now_or_later_asks_or_decided_sees_it(client: Client) -> None:
    late = (Escalation(after=DAY_MS, to=("boss",)),)
    put(client, "named", "lead", escalate=late)
    put(client, "grouped", "group:ops")
    put(client, "open")
    seen = {
        "lead": ["named", "open"],
        "boss": ["named", "open"],
        "member": ["grouped", "open"],
        "asker": ["named", "grouped", "open"],
        "auditor": ["named", "grouped", "open"],
        "operator": ["open"],
        "stranger": ["open"],
    }
    assert {person: ids(client, person) for person in seen} == seen
    before = seeing()  # the settings name other members than when it was decided
    Inbox(client, actor("member")).decide("grouped", DecisionInput(verdict="approve"))
    left = groups_of({"ops": ["other"]}, visibility=before.visibility)
    for person, sees in (("member", True), ("other", True), ("stranger", False)):
        found = Inbox(client, actor(person, left)).history(HistoryFilter())[0]
        assert [entry.id for entry in found] == ["grouped"] * sees, person


def test_workflows_have_an_audience_and_the_stricter_one_counts(client: Client) -> None:
    for id in ("lunch-1", "lunch-secret", "pay-1"):
        put(client, id, "lead")
    groups = seeing("everyone", {"pay*": "assigned", "*secret": "assigned", "lunch*": "everyone"})
    assert ids(client, "stranger", groups=groups) == ["lunch-1"]
    groups = seeing("assigned", {"lunch*": "everyone"})
    assert ids(client, "stranger", groups=groups) == ["lunch-1", "lunch-secret"]


@pytest.mark.parametrize("sort", ["age", "due", "priority"])
@pytest.mark.parametrize("in_memory", [True, False])
def test_pages_are_full_and_their_cursors_tell_nothing(client: Client, sort: Sort, in_memory: bool) -> None:
    for number in range(30):
        put(client, f"r{number:02}", "me" if number % 5 == 0 else "lead")
    known = None
    if in_memory:
        if not OpenRequests.suits(client):
            pytest.skip("this server cannot tell what has changed")
        known = OpenRequests(client)
        list(known.load())
    own = Inbox(client, actor("me"), known)
    read_all(lambda after: own.page(RequestFilter(), sort=sort, limit=2, after=after))


@pytest.mark.parametrize("kind", ["history", "runs"])
def test_pages_of_what_was_are_full_too(client: Client, kind: str) -> None:
    for number in range(30):
        id, person = f"r{number:02}", "me" if number % 5 == 0 else "lead"
        if kind == "runs":
            Runs(client, actor(person)).start(RunSpec(id=id, workflow="pay"))
        else:
            put(client, id, person)
            inbox(client, person).decide(id, DecisionInput(verdict="approve"))
    runs, own = Runs(client, actor("me")), inbox(client, "me")
    if kind == "runs":
        read_all(lambda after: runs.page(limit=2, after=after))
    else:
        read_all(lambda after: own.history_page(HistoryFilter(), limit=2, after=after))


def read_all(page: Callable[[str | None], tuple[Sequence[Any], str | None]]) -> None:
    """Read all pages of those of 30 of which one in five may be seen."""
    theirs = [f"r{number:02}" for number in range(30) if number % 5]
    pages, after = [], None
    while True:
        items, after = page(after)
        pages.append([item.id for item in items])
        if after is None:
            break
        assert not any(name in _plain(after) for name in theirs)
    assert sorted(id for page in pages for id in page) == [f"r{number:02}" for number in range(0, 30, 5)]
    assert list(map(len, pages)) == [2, 2, 2]


def _plain(cursor: str) -> str:
    return base64.b64decode(cursor + "==", altchars=b"-_").decode()


def test_a_cursor_names_no_request_that_is_not_seen(client: Client) -> None:
    put(client, "theirs", "lead")
    errors = []
    for id in ("theirs", "nothing"):
        with pytest.raises(BadInput) as refused:
            inbox(client, "me").page(limit=2, after=cursor_of(f"after:{id}", "pending by age"))
        errors.append((str(refused.value), refused.value.code))
    assert errors[0] == errors[1]


def test_a_name_means_a_request_that_is_seen(client: Client) -> None:
    put(client, "deploy-1", "lead")
    put(client, "deploy-2", "me")
    assert inbox(client, "me").find("deploy").id == "deploy-2"
    for name in ("deploy-1", "deploy-3"):
        with pytest.raises(NotFound) as missing:
            inbox(client, "me").find(name)
        assert str(missing.value).replace(name, "") == "no request or run ''. Did you mean deploy-2?"
    with pytest.raises(NotFound):
        inbox(client, "me").decide("deploy-1", DecisionInput(verdict="approve"))
    with pytest.raises(Conflict, match="is taken"):
        put(client, "deploy-1", "me", by="me")
    assert inbox(client, "me").stats(DAY_MS).open == 1


def test_a_run_is_seen_by_who_started_it_and_by_operators(client: Client) -> None:
    Runs(client, actor("starter")).start(RunSpec(id="run-1", workflow="pay", args=["secret"]))
    for person in ("starter", "operator", "auditor"):
        assert Runs(client, actor(person)).show("run-1").function == "pay"
        assert [run.id for run in Runs(client, actor(person)).list()[0]] == ["run-1"]
        assert [one.name for one in Runs(client, actor(person)).workflows()] == ["pay"]
    other = Runs(client, actor("stranger"))
    assert not other.list()[0]
    assert not other.workflows()
    for call in (other.show, other.steps, other.to_cancel, other.cancel):
        with pytest.raises(NotFound, match="there is no run 'run-1'"):
            call("run-1")
    with pytest.raises(Conflict, match="is taken"):
        other.start(RunSpec(id="run-1", workflow="other"))
    assert Runs(client, actor("operator")).cancel("run-1").fresh


def test_a_role_adds_nothing_to_a_token(client: Client) -> None:
    put(client, "theirs", "lead")
    for person in ("auditor", "operator"):
        assert ids(client, person, may=frozenset({"ask"})) == []
    with pytest.raises(NotAllowed):
        Runs(client, actor("operator", may=frozenset({"read"}))).cancel("theirs")


def test_who_may_only_ask_cancels_their_own_request_and_nothing_else(client: Client) -> None:
    put(client, "own", by="agent")
    put(client, "other")
    Runs(client, actor("agent")).start(RunSpec(id="run-1", workflow="pay"))
    agent = Runs(client, actor("agent", may=frozenset({"ask"})))
    assert agent.cancel("own").fresh
    with pytest.raises(NotFound):
        agent.cancel("other")
    with pytest.raises(NotAllowed):
        agent.cancel("run-1")
    reader = Runs(client, actor("asker", seeing("everyone"), may=frozenset({"read", "decide"})))
    with pytest.raises(NotAllowed):
        reader.cancel("other")


def test_a_run_with_requests_to_others_is_not_said_to_have_asked_nothing(client: Client) -> None:
    Runs(client, actor("starter")).start(RunSpec(id="run-1", workflow="pay"))
    with pytest.raises(NotFound) as refused:
        inbox(client, "operator").find("run-1")
    assert refused.value.code == "nothing-waiting"
    assert "not asked" not in str(refused.value)
    with pytest.raises(NotFound) as asked_nothing:
        Inbox(client, actor("operator", seeing("everyone"))).find("run-1")
    assert "not asked" in str(asked_nothing.value)


def test_schedules_are_looked_after_by_operators(client: Client) -> None:
    plan = ScheduleSpec(id="nightly", cron="0 2 * * *", workflow="pay", args=["secret"])
    Schedules(client, actor("operator")).add(plan)
    for person, sees in (("operator", True), ("auditor", True), ("stranger", False)):
        assert [one.id for one in Schedules(client, actor(person)).list()] == ["nightly"] * sees
    stranger = Schedules(client, actor("stranger"))
    with pytest.raises(Conflict, match="is taken"):
        stranger.add(ScheduleSpec(id="nightly", cron="0 3 * * *"))
    with pytest.raises(NotFound):
        stranger.remove("nightly")
    Schedules(client, actor("operator")).remove("nightly")


def test_a_whole_history_is_for_auditors(client: Client) -> None:
    put(client, "theirs", "lead")
    inbox(client, "lead").decide("theirs", DecisionInput(verdict="approve"))
    for person, sees in (("lead", True), ("stranger", False)):
        ledger = Ledger(client, actor(person))
        assert [one.id for one in ledger.verify(GROUPS, 0)] == ["theirs"] * sees
        for call in (ledger.export, lambda keys, of=ledger: of.check([], keys)):
            with pytest.raises(NotAllowed) as refused:
                call(())
            assert refused.value.code == "role-missing"
    with pytest.raises(NotFound):
        Ledger(client, actor("stranger")).receipt("theirs", ())
    assert Ledger(client, actor("lead")).receipt("theirs", ()).promise.id == "theirs"
    assert b"theirs" in b"".join(Ledger(client, actor("auditor")).export(()))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('[roles]\nauditor = ["group:nobody"]', "group:nobody"),
        ('[visibility]\ndefault = "some"', "visibility.default"),
        ('[visibility.workflows]\npay = "nobody"', "visibility.workflows"),
        ('[roles]\nadmin = ["lead"]', "admin"),
        ('[people.lead]\ndeputies = ["nobody"]', "nobody"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, text: str, wrong: str) -> None:
    (tmp_path / "hitl.toml").write_text(text)
    with pytest.raises(BadInput, match=wrong):
        Settings({}, tmp_path).people()


def test_commands_on_a_file_follow_the_settings_of_their_person(hitl: Hitl) -> None:
    (hitl.folder / "hitl.toml").write_text(
        '[visibility]\ndefault = "assigned"\n[people.ada]\n[people.lead]\n'
    )
    with hitl.client() as client:
        put(client, "theirs", "lead")
    assert hitl.json("pending") == []
    hitl.fails(3, "show", "theirs", code="not-found")
    hitl.env["HITL_AS"] = "lead"
    assert [one["id"] for one in hitl.json("pending")] == ["theirs"]
