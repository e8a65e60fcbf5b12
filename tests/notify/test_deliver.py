"""Who is notified of a request, and when: once each, whatever fails in between."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
import pytest

from hitl_cli.auth.links import link_in
from hitl_cli.auth.signing_keys import load_keys
from hitl_cli.client.embedded import EmbeddedClient
from hitl_cli.client.protocol import ProtocolResponse, get_promise, get_promises, search
from hitl_cli.client.tags import NOTICE_TAG, belongs_to_notification
from hitl_cli.client.wire import child_id, decode_as
from hitl_cli.engine.prune import prune
from hitl_cli.errors import Unreachable
from hitl_cli.inbox import Inbox
from hitl_cli.notify.digest_store import GATHERED_TAG
from hitl_cli.notify.reconcile import Reconciler
from hitl_cli.people.actor import Actor
from hitl_cli.people.contacts import Contact, Directory, GroupContact, NotificationSettings
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.notification import Notification
from hitl_cli.requests.question import Question
from hitl_cli.runs import Runs
from hitl_cli.views.details import notified
from tests.acting import details
from tests.cli.requests import put
from tests.conftest import wait_until
from tests.gateway.conftest import begin_gateway
from tests.notify.people import GATEWAY, Town
from tests.recovery.crew import ASKS, DAY_MS, HOUR_MS, LEASE_MS, MINUTE_MS
from tests.worker.watching import promise_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hitl_cli.client.protocol import ProtocolRequest
    from tests.conftest import Hitl
    from tests.notify.receivers import HttpReceiver


@pytest.fixture
def town(hitl: Hitl, receiver: HttpReceiver) -> Iterator[Town]:
    """A reviewer and a lead, whom workers can reach."""
    opened = Town(hitl, receiver)
    yield opened
    receiver.answers.set()
    opened.close()


# Who, and of what


def test_each_who_is_asked_is_told_once_with_a_link_of_their_own(town: Town) -> None:
    town.worker()
    id = town.ask(to=["reviewer", "lead", "nobody in the settings"])
    assert sorted(town.sent(2)) == [("lead", "asked", id), ("reviewer", "asked", id)]
    keys = load_keys(town.crew.told["reach"].keys, town.crew.clock())
    for posted in town.receiver.received:
        url = posted.json["data"]["requests"][0]["url"]
        assert url.startswith(f"{GATEWAY}/l/")
        link = link_in(urlsplit(url).path.removeprefix("/l/"), keys)
        assert (link.request, link.person) == (id, posted.path.removeprefix("/"))
    kept = json.dumps([str(promise) for promise in search(town.crew.client)])
    assert "/l/" not in kept  # a link is for whoever gets it, and nobody else


def test_members_of_a_group_are_told_each_and_a_group_with_a_place_of_its_own_is_told_there(
    town: Town,
) -> None:
    groups = {
        "ops": GroupContact(members=("reviewer", "lead", "intern")),
        "core": GroupContact(members=("lead",)),
        "board": GroupContact(members=("lead",), webhook=f"{town.base}/board"),
    }
    town.settle_in(groups, reviewer=town.at("reviewer"), lead=town.at("lead"))
    town.worker()
    id = town.ask(to=["group:ops", "group:core", "group:board"])
    assert sorted(town.sent(3)) == [("board", "asked", id), ("lead", "asked", id), ("reviewer", "asked", id)]
    board = next(posted for posted in town.receiver.received if posted.path == "/board")
    assert board.json["data"]["requests"][0]["url"] == f"{GATEWAY}/r/{id}"


def test_a_member_without_a_contact_is_on_record_as_not_told(hitl: Hitl, town: Town) -> None:
    town.settle_in({"ops": GroupContact(members=("intern", "reviewer"))}, reviewer=town.at("reviewer"))
    town.worker()
    id = town.ask(to="group:ops", remind="1h")
    town.sent(1)
    town.told(id, 2)
    town.crew.later(HOUR_MS)
    town.sent(2)
    town.told(id, 3)
    document = {(one["who"], one["occasion"]): one for one in hitl.json("show", id)["told"]}
    assert [(*told, one["outcome"]) for told, one in document.items()] == [
        ("intern", "asked", "not told"),
        ("reviewer", "asked", "told"),
        ("reviewer", "reminder", "told"),
    ]
    [line] = town.crew.said_in_all(1)
    assert f"{id} has been waiting for intern for" in line
    assert "no contact" in document["intern", "asked"]["why"]
    assert "no contact" in hitl.ok("show", id)


def test_who_has_no_contact_is_shown_where_the_settings_are_too(hitl: Hitl) -> None:
    (hitl.folder / "hitl.toml").write_text(
        '[people.reviewer]\nnotify = ["console"]\n[groups.ops]\nmembers = ["intern", "reviewer"]\n'
    )
    put(hitl, "q", Question(prompt="Well?", to=("group:ops", "lead")))
    assert hitl.json("show", "q")["without_contact"] == ["intern", "lead"]
    assert "intern" in hitl.ok("show", "q")
    hitl.ok("approve", "q", "--as", "intern")
    assert hitl.json("show", "q")["without_contact"] == []


def test_what_names_nobody_is_told_to_whom_the_settings_name_for_it(town: Town) -> None:
    town.worker()
    town.ask("silent")
    town.crew.kill()
    town.settle_in(anybody=("lead",), lead=town.at("lead"))
    town.worker()
    id = town.ask("loud")
    assert sorted(town.sent(2)) == [("lead", "asked", id), ("lead", "asked", "silent:1.1")]


def test_where_nobody_can_be_reached_nothing_is_created(town: Town) -> None:
    town.settle_in(reviewer=Contact())
    town.worker()
    town.crew.ask(to="reviewer", remind="1h")
    town.crew.later(HOUR_MS)
    [line] = town.crew.said_in_all(1)
    assert "waiting for reviewer" in line
    assert [p for p in search(town.crew.client) if NOTICE_TAG in p.tags] == []


def test_the_others_are_told_what_came_of_it_and_not_who_decided(town: Town) -> None:
    town.worker()
    id = town.ask(to=["reviewer", "lead"])
    town.told(id, 2)
    town.crew.reject(id, by="lead", reason="over budget")
    town.told(id, 3)
    assert town.sent(3)[-1] == ("reviewer", "rejected", id)
    said = town.receiver.received[-1].json["data"]
    assert said["subject"] == "Rejected by lead: Deploy 1.4.2?"
    assert (said["requests"][0]["by"], said["requests"][0]["reason"]) == ("lead", "over budget")
    assert town.crew.result()["approved"] is False


def test_who_it_is_assigned_to_is_told_and_who_is_asked_now_or_claims_it_is_reminded(town: Town) -> None:
    town.worker()
    id = town.ask(to=["reviewer"], remind="1h", reassign="assignees")
    town.told(id, 1)
    reach = town.crew.told["reach"].now
    reviewer, lead = (Inbox(town.crew.client, Actor(person=one, via="cli")) for one in ("reviewer", "lead"))
    reviewer.assign(id, ["lead"], reach, "default")
    assert town.sent(2)[-1] == ("lead", "assigned", id)
    town.told(id, 2)
    town.idle()  # or what is in hand loses its lease when the clock is moved, and is sent again
    town.crew.later(HOUR_MS)
    assert town.sent(3)[-1] == ("lead", "reminder", id)
    lead.assign(id, ["reviewer"], reach, "default", add=True)
    assert town.sent(4)[-1] == ("reviewer", "assigned", id)
    lead.claim(id, 2 * HOUR_MS)
    town.idle()
    town.crew.later(HOUR_MS)
    assert town.sent(5)[-1] == ("lead", "reminder", id)
    reviewer.decide(id, DecisionInput(verdict="approve"))
    assert town.sent(6)[-1] == ("lead", "approved", id)


def test_who_was_asked_what_nobody_waits_for_any_more_is_told_at_once_that_it_is_canceled(town: Town) -> None:
    town.worker()
    town.crew.begin("r", "asks_each", ["lead", "reviewer"])
    town.sent(2)
    town.told("r:1.1", 1)
    town.told("r:2.1", 1)
    town.crew.reject("r:1.1", by="lead", reason="over budget")
    assert town.sent(3)[-1] == ("reviewer", "canceled", "r:2.1")


def test_who_is_reminded_is_who_has_not_voted_and_escalated_to_who_is_new(town: Town) -> None:
    town.worker()
    id = town.ask(to=["reviewer", "lead"], approvals=2, remind="4h", escalate={"8h": ["boss"]})
    town.told(id, 2)
    town.idle()  # or what is in hand loses its lease when the clock is moved, and is sent again
    town.crew.approve(id, by="lead")
    town.crew.later(4 * HOUR_MS)
    assert ("reviewer", "reminder", id) in town.sent(3)
    assert town.crew.said() == []  # all who are asked were sent a message
    town.told(id, 3)
    town.idle()  # or the lease on what is being recorded lapses, and it is sent again
    town.crew.later(4 * HOUR_MS)
    assert town.sent(4)[-1] == ("reviewer", "reminder", id)
    [line] = town.crew.said_in_all(1)
    assert "waiting for boss" in line
    town.crew.kill()
    assert len(town.receiver.received) == 4


def test_a_deadline_that_passes_is_told(town: Town) -> None:
    town.worker()
    id = town.ask(to=["reviewer"], deadline="2h", on_deadline="approve")
    town.told(id)
    town.idle()
    town.crew.later(2 * HOUR_MS)
    assert town.sent(2)[-1] == ("reviewer", "expired", id)
    assert town.receiver.received[-1].json["data"]["requests"][0]["reason"] == "it counts as approved"


def test_that_a_run_was_canceled_is_told(town: Town) -> None:
    town.worker()
    id = town.ask(to=["reviewer"])
    town.told(id)
    Runs(town.crew.client, Actor(person="lead", via="test")).cancel("r")
    assert town.sent(2)[-1] == ("reviewer", "canceled", id)


def test_a_notice_that_somebody_made_up_tells_nobody_who_is_not_asked(town: Town) -> None:
    town.worker()
    id = town.ask(to=["reviewer"])
    town.told(id)
    made_up = [
        Notification(request=id, occasion="reminder", names=("lead", "x@example.org"), number=99),
        Notification(request="r", occasion="asked", names=("lead",)),
        Notification(request="none", occasion="asked", names=("lead",)),
    ]
    until = town.crew.clock() + HOUR_MS
    town.crew.client.call_many([notice.create("poll://any@default", until, "r") for notice in made_up])
    for notice in made_up:
        wait_until(lambda id=notice.id: promise_of(town.crew.client, id).state == "resolved")  # type: ignore[misc]
    assert town.sent(1) == [("reviewer", "asked", id)]


def steps_of(town: Town, notice: str) -> list[str]:
    """Return the ids of the steps below a notification, without its own id."""
    found = search(town.crew.client)
    return sorted(p.id.removeprefix(f"{notice}.") for p in found if p.id.startswith(f"{notice}."))


def test_who_decided_alone_is_told_nothing_and_nothing_is_queued(town: Town) -> None:
    town.worker()
    id = town.ask(to=["reviewer"])
    town.told(id)
    town.crew.approve(id, by="reviewer")
    town.crew.result()
    town.idle()
    assert [p.id for p in search(town.crew.client, tags={NOTICE_TAG: id})] == [f"{id}.t-asked"]
    assert town.sent(1) == [("reviewer", "asked", id)]


def test_one_recipient_takes_no_step_several_one_each_and_what_fails_more(town: Town) -> None:
    town.worker()
    one = town.ask("one", to=["reviewer"])
    town.told(one)
    several = town.ask("several", to=["reviewer", "lead"])
    town.told(several, 2)
    town.receiver.fail_with(503)
    failing = town.ask("failing", to=["reviewer"])
    [told] = wait_until(lambda: [each for each in town.told_so_far(failing) if each.tries])
    assert (told.who, [tried.outcome for tried in told.tries]) == ("reviewer", ["failed"])
    town.crew.later(MINUTE_MS)
    [told] = town.told(failing)
    assert [tried.outcome for tried in told.tries] == ["failed", "sent"]
    town.idle()
    assert steps_of(town, f"{one}.t-asked") == []
    assert steps_of(town, f"{several}.t-asked") == ["1", "2", "3"]
    assert steps_of(town, f"{failing}.t-asked")[:4] == ["1", "2", "2.1", "2.2"]
    assert len(town.receiver.received) == 5


# Once, whatever happens


def test_a_worker_killed_between_sending_and_recording_sends_the_same_message_again(town: Town) -> None:
    town.receiver.answers.clear()
    town.worker()
    id = town.ask(to=["reviewer"])
    first = town.receiver.wait_for(1)[0]
    town.crew.kill()
    town.receiver.answers.set()
    town.crew.later(LEASE_MS)
    town.worker()
    assert town.sent(2) == [("reviewer", "asked", id)] * 2
    again = town.receiver.received[1]
    assert again.headers["webhook-id"] == first.headers["webhook-id"]
    [told] = town.told(id)
    assert [tried.outcome for tried in told.tries] == ["sent"]


@pytest.mark.only("file", reason="prunes the file by the test's clock")
def test_a_request_that_takes_the_id_of_one_that_was_pruned_is_another_one(town: Town) -> None:
    ids = []
    for n in range(2):
        town.receiver.received.clear()
        town.worker()
        id = town.ask(to=["reviewer"])
        town.told(id)
        ids.append(town.receiver.received[0].headers["webhook-id"])
        town.crew.approve(id, by="reviewer")
        town.crew.result()
        town.idle()
        town.crew.kill()
        town.crew.later(DAY_MS)
        town.crew.begin(f"newest-{n}", "approval")  # the newest of all stays
        clock = town.crew.clock
        prune(town.crew.hitl.database, older_ms=HOUR_MS, clock=clock, progress=lambda _: None)
        assert get_promise(town.crew.client, id) is None
    assert ids[0] != ids[1]


def test_two_workers_tell_once_and_a_worker_that_comes_later_tells_nobody_again(town: Town) -> None:
    town.worker()
    town.worker()
    ids = [town.ask(f"r{n}", to=["reviewer"]) for n in range(5)]
    for id in ids:
        town.told(id)
    town.crew.kill()
    town.crew.later(LEASE_MS)
    town.worker()
    last = town.ask("last", to=["reviewer"])
    town.told(last)
    town.idle()
    assert sorted(town.sent(6)) == sorted(("reviewer", "asked", id) for id in [*ids, last])


def test_the_workflow_is_not_held_up_by_a_receiver_that_does_not_answer(town: Town) -> None:
    town.receiver.answers.clear()
    town.worker()
    id = town.ask(to=["reviewer", "lead"])
    town.receiver.wait_for(2)
    town.crew.approve(id, by="lead")
    assert town.crew.result()["by"] == "lead"


def test_receivers_that_hang_leave_a_busy_worker_time_for_workflows(town: Town) -> None:
    town.receiver.answers.clear()
    town.crew.told["concurrency"] = 4
    town.worker()
    for n in range(12):
        town.ask(f"r{n}", to=["reviewer", "lead"])
    town.receiver.wait_for(1)
    for n in range(12):
        town.crew.approve(f"r{n}:1.1", by="lead")
        town.crew.result(f"r{n}")
    assert len(town.receiver.received) < 4


def test_settings_may_change_before_it_is_replayed(town: Town) -> None:
    town.settle_in(reviewer=Contact())
    town.worker()
    town.crew.begin("r", "asks_twice")
    town.crew.asked()
    town.crew.kill()
    town.settle_in(anybody=("reviewer",), reviewer=town.at("reviewer"))
    town.crew.later(LEASE_MS)
    town.worker()
    town.crew.approve("r:1.1", data=1)
    wait_until(lambda: ("asked", "r:2.1") in town.sent_to("reviewer"))
    town.crew.kill()
    town.settle_in(reviewer=Contact())
    town.crew.later(LEASE_MS)
    town.worker()
    town.crew.approve("r:2.1", data=2)
    assert town.crew.result() == [1, 2]


# What fails


def test_what_one_channel_refuses_goes_through_the_next_and_shows(hitl: Hitl, town: Town) -> None:
    both = Contact(webhook=f"{town.base}/reviewer", slack=f"{town.base}/slack", notify=("webhook", "slack"))
    town.settle_in(reviewer=both)
    town.receiver.fail_with(410)
    town.worker()
    id = town.ask(to=["reviewer"])
    [told] = town.told(id)
    assert [(tried.channel, tried.outcome) for tried in told.tries] == [
        ("webhook", "failed"),
        ("slack", "sent"),
    ]
    shown = hitl.ok("show", id)
    assert "notified by slack" in " ".join(shown.split())
    assert "not by webhook: 127.0.0.1 refused it (410)" in shown
    [document] = hitl.json("show", id)["told"]
    assert (document["who"], document["outcome"], document["channel"]) == ("reviewer", "told", "slack")
    assert [one["channel"] for one in document["tries"]] == ["webhook", "slack"]


def test_what_nobody_takes_now_is_tried_again_quickly_then_slowly_and_says_so(hitl: Hitl, town: Town) -> None:
    town.receiver.fail_with(503, times=4)
    town.worker()
    id = town.ask(to=["reviewer"])

    def tries() -> int:
        [told] = notified(details(town.crew.client, promise_of(town.crew.client, id))) or [None]
        return 0 if told is None or told.next_at is None else len(told.tries)

    for n in (1, 2):
        wait_until(lambda n=n: tries() == n)  # type: ignore[misc]
        town.crew.later(10_000)
    wait_until(lambda: tries() == 3)
    assert "retrying webhook: 127.0.0.1 cannot accept it now (503); next attempt in " in " ".join(
        hitl.ok("show", id).split()
    )
    assert hitl.json("status", "r")["waits_for"] == [id]
    town.crew.later(MINUTE_MS)
    wait_until(lambda: tries() == 4)
    town.crew.later(MINUTE_MS)
    [told] = town.told(id)
    assert [tried.outcome for tried in told.tries] == ["failed"] * 4 + ["sent"]


def test_a_channel_that_refused_for_good_is_left_alone_and_the_other_tried_again(town: Town) -> None:
    both = Contact(webhook=f"{town.base}/gone", slack=f"{town.base}/later", notify=("webhook", "slack"))
    town.settle_in(reviewer=both)
    town.receiver.fail_with(410)
    town.receiver.fail_with(503, headers={"Retry-After": "3600"})
    town.worker()
    id = town.ask(to=["reviewer"])
    wait_until(lambda: len(town.receiver.received) == 2)
    town.idle()
    town.crew.later(HOUR_MS)
    town.told(id)
    assert [posted.path for posted in town.receiver.received] == ["/gone", "/later", "/later"]


def test_it_is_tried_no_more_once_it_is_decided(town: Town) -> None:
    town.settle_in(reviewer=town.at("reviewer"))
    town.receiver.fail_with(503, times=10)
    town.worker()
    id = town.ask(to=["reviewer", "lead"])
    wait_until(lambda: town.sent_to("reviewer"))
    town.crew.approve(id, by="lead")
    town.crew.result()
    town.idle()
    town.crew.later(DAY_MS)
    wait_until(lambda: notified(details(town.crew.client, promise_of(town.crew.client, id))) == ())
    assert len(town.sent_to("reviewer")) == 1


# What others ask


def test_a_question_of_a_script_is_told_by_whichever_worker_there_is(hitl: Hitl, town: Town) -> None:
    (hitl.folder / "hitl.toml").write_text(f'[people.reviewer]\nwebhook = "{town.base}/reviewer"\n')
    town.settle_in(reviewer=town.at("reviewer"))
    hitl.ok("ask", "Ship it?", "--to", "reviewer", "--to", "lead", "--id", "q", "--no-wait")
    assert [p.id for p in search(hitl.client(), tags={NOTICE_TAG: "q"})] == ["q:t-asked"]
    town.worker()
    assert town.sent(1) == [("reviewer", "asked", "q")]
    town.told("q")
    hitl.ok("approve", "q", "--as", "lead")
    assert town.sent(2)[-1] == ("reviewer", "approved", "q")


def test_the_others_are_told_what_came_of_a_request_of_a_script_that_was_open_for_a_moment(
    hitl: Hitl, town: Town
) -> None:
    reach = town.crew.told["reach"]
    reconciler = Reconciler(reach, "poll://any@default")
    with hitl.client() as client:
        reconciler.look(client)
        (hitl.folder / "hitl.toml").write_text(f'[people.reviewer]\nwebhook = "{town.base}/reviewer"\n')
        hitl.ok("ask", "Ship it?", "--to", "reviewer", "--to", "lead", "--id", "q", "--no-wait")
        hitl.ok("approve", "q", "--as", "lead")
        reconciler.look(client)
        found = search(client, tags={NOTICE_TAG: "q"})
    assert [p.id for p in found] == ["q:t-asked", "q:t-approved"]


def test_what_other_programs_ask_is_told_too_unless_it_has_lain_there_for_long(
    hitl: Hitl, town: Town
) -> None:
    question = Question(prompt="Well?", to=("reviewer", "lead"))
    town.settle_in(reviewer=town.at("reviewer"))
    put(hitl, "old", question)
    town.crew.later(4 * DAY_MS)
    town.worker()
    Inbox(town.crew.client, Actor(person="x", via="cli")).ask(question, id="new", deadline_ms=DAY_MS)
    assert town.sent(1) == [("reviewer", "asked", "new")]
    town.told("new")
    town.crew.approve("new", by="lead")
    assert town.sent(2)[-1] == ("reviewer", "approved", "new")
    assert get_promise(town.crew.client, "old:t-asked") is None


@pytest.mark.only("file", reason="its client of the file fails at times")
def test_what_could_not_be_noted_while_the_server_was_away_is_told_later(hitl: Hitl, town: Town) -> None:
    put(hitl, "q", Question(prompt="Well?", to=("reviewer",)))
    reach = NotificationSettings(directory=Directory(people={"reviewer": town.at("reviewer")}))
    unheard = Reconciler(reach, "poll://any@default")
    with Fickle(hitl.database) as client:
        client.away = True
        with pytest.raises(Unreachable):
            unheard.look(client)
        assert get_promise(client, "q:t-asked") is None
        client.away = False
        unheard.look(client)
        assert get_promise(client, "q:t-asked") is not None


@pytest.mark.only("file", reason="its client of the file fails at times")
def test_one_notice_that_is_refused_keeps_no_other_from_being_made(hitl: Hitl, town: Town) -> None:
    for id in ("a", "b", "c"):
        put(hitl, id, Question(prompt="Well?", to=("reviewer",)))
    reach = NotificationSettings(directory=Directory(people={"reviewer": town.at("reviewer")}))
    unheard = Reconciler(reach, "poll://any@default")
    with Fickle(hitl.database) as client:
        client.refuses = "b:t-asked"
        unheard.look(client)
        assert get_promises(client, ["a:t-asked", "b:t-asked", "c:t-asked"]).keys() == {
            "a:t-asked",
            "c:t-asked",
        }


class Fickle(EmbeddedClient):
    """A client whose server is away when something is to be created, or refuses one promise."""

    away = False
    refuses = ""

    def call_many(self, requests: Sequence[ProtocolRequest]) -> list[ProtocolResponse]:
        if self.away and any(request.kind == "promise.create" for request in requests):
            raise Unreachable("the server is away.")
        refused = [r.kind == "promise.create" and r.data["id"] == self.refuses for r in requests]
        taken = [request for request, no in zip(requests, refused, strict=True) if not no]
        answers = iter(super().call_many(taken))
        return [ProtocolResponse(400, msgspec.Raw(b'"no"')) if no else next(answers) for no in refused]


# What is seen of it


def test_a_notice_is_a_line_in_the_tree_and_no_news_of_the_worker(hitl: Hitl, receiver: HttpReceiver) -> None:
    (hitl.folder / "hitl.toml").write_text(f'[people.reviewer]\nwebhook = "{receiver.url}"\n')
    worker = hitl.worker("--app", ASKS)
    hitl.ok("start", "r", '{"prompt": "Well?", "to": ["reviewer"]}', "--workflow", "asks")
    receiver.wait_for(1)
    hitl.waiting()
    assert wait_until(lambda: "notification asked" in hitl.ok("status", "r"))
    assert ".t-asked." not in hitl.ok("status", "r")
    assert hitl.json("status", "r")["state"] == "waiting"
    assert not [line for line in worker.lines if "hitl.tell" in line or "t-asked" in line]


def test_of_many_reminders_the_last_of_each_is_shown(hitl: Hitl, town: Town) -> None:
    town.worker()
    id = town.ask(to=["reviewer", "lead"], remind="1h")
    town.told(id, 2)
    for n in (1, 2):
        town.idle()
        town.crew.later(HOUR_MS)
        town.told(id, 2 + 2 * n)
    shown = hitl.ok("show", id)
    assert shown.count(" reminder  notified") == 2
    assert "2 earlier reminders (see --json)" in " ".join(shown.split())
    assert len(hitl.json("show", id)["told"]) == 6


def test_a_run_may_be_named_like_a_notice() -> None:
    assert belongs_to_notification("q:t-asked")
    assert belongs_to_notification("r:1.1.t-reminder-12.2.1")
    assert not belongs_to_notification("release.t-mobile.de:1.1")
    assert not belongs_to_notification("t-asked:1")


def test_the_pages_show_who_was_told(hitl: Hitl, town: Town) -> None:
    town.receiver.fail_with(410)
    town.settle_in(reviewer=town.at("reviewer"), lead=town.at("lead"))
    town.worker()
    id = town.ask(to=["reviewer"])
    town.told(id)
    gateway = begin_gateway(hitl)
    try:
        page = gateway.get(f"/r/{id}").text
        assert "Notifications (1)" in page
        assert "webhook: 127.0.0.1 refused it (410)" in page
        run = gateway.get("/runs/r").text
        assert f"{id}.t-asked" in run
        assert f"{id}.t-asked.1" not in run
    finally:
        gateway.stop()


# What is asked back


def test_who_asked_is_told_what_is_asked_back_and_the_assignees_are_told_the_answer(town: Town) -> None:
    town.worker()
    town.crew.begin("r", "asks", {"prompt": "Deploy?", "to": ["reviewer"], "remind": "4h"}, by="lead")
    [(*_, id)] = town.sent(1)
    town.told(id)
    reviewer = Inbox(town.crew.client, Actor(person="reviewer", via="test"))
    reviewer.ask_back(id, "Which region?")
    assert town.sent(2)[-1] == ("lead", "asked-back", id)
    said = town.receiver.received[-1].json["data"]["requests"][0]
    assert (said["asked_back"]["by"], said["asked_back"]["text"]) == ("reviewer", "Which region?")
    assert (said["url"], said["answer_url"]) == (f"{GATEWAY}/r/{id}", None)  # to answer, not to decide
    town.told(id, 2)
    town.idle()
    town.crew.later(4 * HOUR_MS)

    def reminded() -> bool:
        found = search(town.crew.client, tags={NOTICE_TAG: id}) if town.crew.pending() else []
        return any("t-reminder" in promise.id and promise.state == "resolved" for promise in found)

    wait_until(reminded)
    assert len(town.receiver.received) == 2  # nobody is reminded while it waits for its asker
    Inbox(town.crew.client, Actor(person="lead", via="test")).answer_back(id, "The second")
    assert town.sent(3)[-1] == ("reviewer", "answered-back", id)
    assert town.receiver.received[-1].json["data"]["requests"][0]["asked_back"]["text"] == "The second"


def test_what_is_asked_back_where_nobody_was_told_of_the_request_is_told_by_a_worker_later(
    hitl: Hitl, town: Town
) -> None:
    put(hitl, "q", Question(prompt="Well?", to=("intern",)), by="lead")
    unheard = Reconciler(town.crew.told["reach"], "poll://any@default")
    with hitl.client() as client:
        unheard.look(client)
        Inbox(client, Actor(person="intern", via="test")).ask_back("q", "Why?")
        assert get_promise(client, "q:t-asked-back-1") is None
        unheard.look(client)
        assert get_promise(client, "q:t-asked-back-1") is not None
        Inbox(client, Actor(person="lead", via="test")).answer_back("q", "So")
        unheard.look(client)
        assert get_promise(client, "q:t-answered-back-2") is None  # the intern cannot be reached


def test_a_deputy_is_told_of_new_requests_as_well(town: Town) -> None:
    away = Inbox(town.crew.client, Actor(person="reviewer", via="test"))
    away.go_away(until=town.crew.clock() + DAY_MS, to="lead")
    town.worker()
    id = town.ask(to=["reviewer"])
    assert sorted(town.sent(2)) == [("lead", "asked", id), ("reviewer", "asked", id)]


def gone_away(town: Town, person: str, to: str) -> Inbox:
    """Return the inbox of a person who has gone away for a day."""
    inbox = Inbox(town.crew.client, Actor(person=person, via="test"))
    inbox.go_away(until=town.crew.clock() + DAY_MS, to=to)
    return inbox


def notices_of(town: Town, id: str) -> list[str]:
    """Return the ids of the notifications of a request, without the number of a deputy."""
    found = search(town.crew.client, tags={NOTICE_TAG: id})
    return sorted(one.id.removeprefix(child_id(id, "t-")).partition("-")[0] for one in found)


def in_digests(town: Town) -> set[str]:
    """Return the requests that are kept for a digest."""
    kept = (one for one in search(town.crew.client) if GATHERED_TAG in one.tags)
    return {notice.request for one in kept if (notice := decode_as(one.param, Notification))}


def test_a_deputy_is_told_once_and_in_one_message_of_what_was_open_before_and_of_its_outcome(
    town: Town,
) -> None:
    town.worker()
    town.worker()
    ids = [town.ask(id, to=["reviewer"]) for id in ("one", "two")]
    town.sent(2)
    town.idle()
    town.crew.later(MINUTE_MS - town.crew.clock() % MINUTE_MS)  # the window of the message begins
    away = gone_away(town, "reviewer", "lead")
    wait_until(lambda: all(notices_of(town, id) == ["asked", "deputy"] for id in ids))
    away.come_back()
    gone_away(town, "reviewer", "lead")  # is another absence, of which nothing is told again
    wait_until(lambda: all(notices_of(town, id) == ["asked", "deputy", "deputy"] for id in ids))
    wait_until(lambda: in_digests(town) >= set(ids))
    town.idle()
    town.crew.later(MINUTE_MS + 10_000)
    assert town.sent(3)[-1] == ("lead", "digest", " ".join(ids))
    said = town.receiver.received[-1].json["data"]["requests"][0]
    assert said["deputy_for"] == ["reviewer"]

    def recorded() -> bool:
        town.idle()
        town.crew.later(MINUTE_MS)
        return {one.standing for one in town.told_so_far(ids[0])} == {"told"}

    wait_until(recorded)
    later = town.ask("three", to=["reviewer"])
    assert sorted(town.sent(5)[-2:]) == [("lead", "asked", later), ("reviewer", "asked", later)]
    assert notices_of(town, later) == ["asked"]
    town.told(later, 2)
    town.idle()
    away.decide(later, DecisionInput(verdict="approve"))
    assert town.sent(6)[-1] == ("lead", "approved", later)
    away.come_back()
    away.decide(ids[0], DecisionInput(verdict="approve"))
    assert town.sent(7)[-1] == ("lead", "approved", ids[0])


def test_a_deputy_is_told_also_if_nobody_else_has_a_contact(hitl: Hitl, town: Town) -> None:
    town.settle_in(lead=town.at("lead"), boss=Contact())
    gone_away(town, "reviewer", "lead")
    town.worker()
    id = town.ask(to=["reviewer"], remind="1h", reassign="assignees")
    assert town.sent(1) == [("lead", "asked", id)]
    town.told(id)
    town.idle()
    town.crew.later(HOUR_MS)
    assert town.sent(2)[-1] == ("lead", "reminder", id)
    directory = town.crew.told["reach"].now
    with hitl.client() as client:
        asker = Inbox(client, Actor(person="clerk", via="test"))
        put = asker.ask(Question(prompt="Well?", to=("reviewer",)), id="q", deadline_ms=DAY_MS)
        assert asker.notify(put, directory, "default")
    assert town.sent(3)[-1] == ("lead", "asked", "q")
    other = town.ask("s", to=["boss"], reassign="anyone")
    Inbox(town.crew.client, Actor(person="boss", via="test")).assign(
        other, ["reviewer"], directory, "default"
    )
    assert town.sent(4)[-1] == ("lead", "assigned", other)
    town.told(id, 2)
    Inbox(town.crew.client, Actor(person="reviewer", via="test")).decide(id, DecisionInput(verdict="approve"))
    assert town.sent(5)[-1] == ("lead", "approved", id)


def test_a_deputy_is_told_of_the_outcome_though_the_absence_ended_before_housekeeping_saw_it(
    hitl: Hitl, town: Town
) -> None:
    town.settle_in(lead=town.at("lead"))
    town.crew.told["count_every_s"] = 3_600.0  # the only round of its own is before
    town.worker()
    reviewer = gone_away(town, "reviewer", "lead")
    housekeeping = Reconciler(town.crew.told["reach"], "poll://any@default")
    with hitl.client() as client:
        housekeeping.look(client)
        id = town.ask(to=["reviewer"])
        asker = Inbox(client, Actor(person="clerk", via="test"))
        for own in ("q", "taken"):
            put = asker.ask(Question(prompt="Well?", to=("reviewer",)), id=own, deadline_ms=DAY_MS)
            asker.notify(put, town.crew.told["reach"].now, "default")
        assert {one[2] for one in town.sent(3)} == {id, "q", "taken"}
        for request in (id, "q", "taken"):
            town.told(request)
        reviewer.decide("taken", DecisionInput(verdict="approve"))
        reviewer.come_back()
        for request in (id, "q"):
            reviewer.decide(request, DecisionInput(verdict="approve"))
        housekeeping.look(client)
    assert {one[1:] for one in town.sent(6)[3:]} == {("approved", one) for one in (id, "q", "taken")}


def test_what_another_program_asks_reaches_a_deputy_who_alone_has_a_contact(hitl: Hitl, town: Town) -> None:
    town.settle_in(lead=town.at("lead"))
    put(hitl, "q", Question(prompt="Well?", to=("reviewer",)))
    gone_away(town, "reviewer", "lead")
    unheard = Reconciler(town.crew.told["reach"], "poll://any@default")
    with hitl.client() as client:
        unheard.look(client)
        unheard.look(client)
        assert notices_of(town, "q") == ["asked", "deputy"]
        town.worker()
        assert town.sent(1) == [("lead", "asked", "q")]
        town.idle()
        town.crew.later(3 * MINUTE_MS)
        town.idle()
        assert len(town.receiver.received) == 1
