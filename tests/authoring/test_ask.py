"""`ask`: the request, the decision, and invalid arguments."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from resonate.context import Context
from resonate.dependencies import DependencyMap
from resonate.error import Suspended
from resonate.types import PromiseCreateReq, PromiseRecord

from hitl_cli import ask
from hitl_cli.authoring.ask import asking
from hitl_cli.authoring.changed_question import NewRequest
from hitl_cli.client.protocol import ProtocolRequest, as_promise, search
from hitl_cli.client.wire import decode, encode
from hitl_cli.errors import BadInput, NotAllowed
from hitl_cli.inbox import Inbox
from hitl_cli.people.actor import Actor
from hitl_cli.requests.question import Question, question_of
from tests.conftest import wait_until
from tests.recovery.crew import DAY_MS, HOUR_MS, LEASE_MS, MINUTE_MS, Crew

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Hitl

AMOUNT = {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]}


@pytest.fixture
def crew(hitl: Hitl) -> Iterator[Crew]:
    """A worker that asks, on a computer whose clock moves."""
    opened = Crew(hitl)
    opened.worker()
    yield opened
    opened.close()


def settle(crew: Crew, id: str, data: object, headers: dict[str, str] | None = None) -> None:
    """Approve a promise past all checks, as another tool would."""
    settlement = {"id": id, "state": "resolved", "value": encode(data, headers)}
    as_promise(crew.client.call_many([ProtocolRequest("promise.settle", settlement)])[0])


def unsettled(crew: Crew) -> list[str]:
    """Return the ids of all promises that are pending."""
    return [promise.id for promise in search(crew.client, state="pending")]


# What is told


def test_the_id_of_a_request_can_be_handed_on_and_stands_whatever_comes_of_it(crew: Crew) -> None:
    for run in ("yes", "misfit"):
        crew.begin(run, "tells_whom", {"prompt": "Well?", "form": AMOUNT})
        request = crew.asked()
        assert request == f"{run}:1.1"
        if run == "yes":
            crew.approve(request, data={"amount": 7})
            assert crew.result(run) == [request, True]
    settle(crew, "misfit:1.1", {"amount": "many"})
    told, error = crew.result("misfit")
    assert told == "misfit:1.1"
    assert "amount" in error


def test_an_approval_is_told_with_all_that_is_known_of_it(crew: Crew) -> None:
    id = crew.ask(form=AMOUNT)
    crew.approve(id, by="ada", data={"amount": 7}, comment="fine by me")
    at = crew.promise(id).value.headers["hitl:at"]  # type: ignore[union-attr, index]
    assert crew.result() == {
        "id": "r:1.1",
        "approved": True,
        "choice": None,
        "data": {"amount": 7},
        "by": "ada",
        "via": "test",
        "at": msgspec.to_builtins(datetime.fromtimestamp(int(at) / 1_000, UTC)),
        "comment": "fine by me",
        "reason": None,
        "expired": False,
        "votes": [],
        "arguments": None,
        "arguments_digest": None,
        "changed": False,
        "once": False,
        "valid_until": None,
    }


def test_an_approval_says_what_it_is_for_and_until_when(crew: Crew) -> None:
    id = crew.ask(arguments={"b": 1.0, "a": "€"}, valid_for="10m")
    crew.approve(id)
    told = crew.result()
    assert told["arguments"] == {"a": "€", "b": 1}
    assert told["arguments_digest"] == hashlib.sha256('{"a":"€","b":1}'.encode()).hexdigest()
    at, until = map(datetime.fromisoformat, (told["at"], told["valid_until"]))
    assert until - at == timedelta(minutes=10)


def test_a_rejection_is_for_nothing(crew: Crew) -> None:
    crew.reject(crew.ask(arguments=[1], valid_for="10m"))
    told = crew.result()
    assert (told["arguments"], told["arguments_digest"], told["valid_until"]) == (None, None, None)


def test_a_plain_yes_is_true(crew: Crew) -> None:
    crew.approve(crew.ask())
    assert crew.result()["data"] is True


def test_a_rejection_is_told_with_its_reason_and_is_no_error(crew: Crew) -> None:
    crew.reject(crew.ask(form=AMOUNT), reason="over büdget", comment="sorry")
    told = crew.result()
    assert (told["approved"], told["data"], told["reason"]) == (False, None, "over büdget")
    assert (told["by"], told["comment"], told["expired"]) == ("ada", "sorry", False)


def test_a_choice_is_told_and_is_the_data_where_there_is_no_form(crew: Crew) -> None:
    crew.approve(crew.ask(choices=["ship", "hold"]), text="hold")
    told = crew.result()
    assert (told["approved"], told["choice"], told["data"]) == (True, "hold", "hold")


def test_a_choice_and_a_form_are_both_told(crew: Crew) -> None:
    crew.approve(crew.ask(choices=["pay", "part"], form=AMOUNT), text="part", data={"amount": 7})
    told = crew.result()
    assert (told["choice"], told["data"]) == ("part", {"amount": 7})


def test_several_who_approved_are_told_with_the_last_one_as_who_decided(crew: Crew) -> None:
    id = crew.ask(approvals=2, to=["ada", "bob", "cy"])
    crew.approve(id, by="ada", comment="first")
    crew.approve(id, by="bob")
    told = crew.result()
    assert (told["approved"], told["by"]) == (True, "bob")
    assert [(vote["by"], vote["verdict"], vote.get("comment")) for vote in told["votes"]] == [
        ("ada", "approve", "first"),
        ("bob", "approve", None),
    ]


def test_require_returns_a_yes_and_raises_on_a_no_and_on_silence(crew: Crew) -> None:
    for id in ("yes", "no", "silence"):
        crew.begin(id, "requires")
        crew.asked()
        if id == "yes":
            crew.approve(id, data={"a": 1})
        elif id == "no":
            crew.reject(id, reason="over budget")
        else:
            crew.later(HOUR_MS)
        crew.result(id)
    assert crew.result("yes") == {"a": 1}
    assert crew.result("no") == "no: no:1.1 was rejected by ada: over budget"
    assert crew.result("silence") == "no: silence:1.1 was not answered before its deadline"


@pytest.mark.parametrize(
    ("form", "data", "told"),
    [
        ("struct", {"amount": 7, "day": "2026-11-21"}, {"amount": 7, "day": "2026-11-21", "note": "none"}),
        ("dataclass", {"version": "1.4.2", "percent": 100}, {"version": "1.4.2", "percent": 100}),
        ("pydantic", {"name": "Ada", "age": 36}, {"name": "Ada", "age": 36}),
    ],
)
def test_an_answer_comes_back_as_the_type_of_the_form(
    crew: Crew, form: str, data: dict[str, Any], told: dict[str, Any]
) -> None:
    if form == "pydantic":
        pytest.importorskip("pydantic")
    names = {"struct": "Expense", "dataclass": "Release", "pydantic": "Person"}
    crew.begin("r", "asks_for", form)
    crew.approve(crew.asked(), data=data)
    crew.approve(crew.asked())
    assert crew.result() == [names[form], told]


def test_what_does_not_fit_the_form_is_refused_and_it_waits_on(crew: Crew) -> None:
    crew.begin("r", "asks_for", "struct")
    id = crew.asked()
    for data in ({"amount": 501, "day": "2026-11-21"}, {"amount": 7}, True):
        with pytest.raises(BadInput):
            crew.approve(id, data=data)
    assert crew.asked() == id


# What another tool answered


@pytest.mark.parametrize(
    ("options", "data"),
    [
        ({"form": AMOUNT}, {"amount": "much"}),
        ({"form": AMOUNT}, None),
        ({"choices": ["ship", "hold"]}, True),
        ({"arguments": {"n": 1}, "editable": {"properties": {"n": {"maximum": 5}}}}, {"n": 9}),
        ({"choices": ["ship", "hold"], "form": AMOUNT}, {"amount": 7}),
    ],
)
def test_a_foreign_answer_that_does_not_fit_is_an_error_at_once(
    crew: Crew, options: dict[str, Any], data: object
) -> None:
    crew.begin("r", "hears_misfit", options)
    settle(crew, crew.asked(), data)
    kind, message = crew.result()
    assert kind == "BadInput"
    assert message.startswith("r:1.1 was answered ")
    assert "tried again" not in crew.complaints()


def test_a_foreign_answer_that_fits_is_told_as_far_as_it_goes(crew: Crew) -> None:
    id = crew.ask(choices=["ship", "hold"])
    settle(crew, id, "ship", {"hitl:at": "soon", "hitl:votes": "[7"})
    told = crew.result()
    assert (told["approved"], told["choice"], told["by"], told["votes"]) == (True, "ship", None, [])
    settled_at = crew.promise(id).settled_at or 0
    assert datetime.fromisoformat(told["at"]) == datetime.fromtimestamp(settled_at / 1_000, UTC)


def test_a_canceled_request_is_a_no(crew: Crew) -> None:
    id = crew.ask()
    settlement = {"id": id, "state": "rejected_canceled", "value": encode(None)}
    as_promise(crew.client.call_many([ProtocolRequest("promise.settle", settlement)])[0])
    told = crew.result()
    assert (told["approved"], told["reason"]) == (False, "canceled")


# What is asked


def test_all_of_the_question_is_on_the_promise(crew: Crew) -> None:
    id = crew.ask(
        prompt="# Deploy?\nto *production*",
        details={"diff": "http://example.org"},
        choices=["ship", "hold"],
        to=["reviewer", "group:ops"],
        allow_self=False,
        approvals=2,
        deadline="2d",
        on_deadline="hold",
        remind="4h",
        escalate={"8h": "lead"},
        key="deploy-1",
        priority="high",
        tags={"team": "core"},
        link="https://example.org/1",
    )
    promise = crew.promise(id)
    asked = decode(promise.param)
    assert asked.pop("code").keys() == {"digest", "hitl", "since"}
    assert asked == {
        "prompt": "# Deploy?\nto *production*",
        "details": {"diff": "http://example.org"},
        "choices": ["ship", "hold"],
        "to": ["reviewer", "group:ops"],
        "allowSelf": False,
        "approvals": 2,
        "onDeadline": {"value": "hold"},
        "remind": 4 * HOUR_MS,
        "escalate": [{"after": 8 * HOUR_MS, "to": ["lead"]}],
        "priority": "high",
        "link": "https://example.org/1",
    }
    assert {name: text for name, text in promise.tags.items() if name.startswith(("hitl:", "team"))} == {
        "hitl:request": "1",
        "hitl:workflow": "asks",
        "hitl:key": "deploy-1",
        "hitl:assignee:reviewer": "1",
        "hitl:assignee:group:ops": "1",
        "hitl:assignee:lead": "1",
        "hitl:quorum": "1",
        "team": "core",
    }
    assert promise.is_blocking
    assert promise.timeout_at - promise.created_at == pytest.approx(2 * DAY_MS, abs=5_000)
    [item] = crew.pending()
    assert (item.prompt, item.key, item.to, item.function) == (
        "Deploy?",
        "deploy-1",
        ("reviewer", "group:ops"),
        "asks",
    )


def test_it_can_be_answered_by_its_key(crew: Crew) -> None:
    crew.ask(key="email-confirmed-a@example.org")
    crew.approve("email-confirmed-a@example.org")
    assert crew.result()["approved"]


def test_only_those_who_are_asked_can_answer_and_not_who_started_it(crew: Crew) -> None:
    id = crew.ask(to=["ada", "bob"], allow_self=False, by="bob")
    for person in ("bob", "eve"):
        with pytest.raises(NotAllowed):
            crew.approve(id, by=person)
    crew.approve(id, by="ada")
    assert crew.result()["by"] == "ada"


def test_a_file_is_asked_about_as_it_was_when_it_was_read(crew: Crew, tmp_path: Path) -> None:
    file = tmp_path / "app.tar"
    file.write_bytes(b"content")
    crew.begin("r", "asks_about_file", str(file))
    id = crew.asked()
    file.unlink()
    digest = question_of(crew.promise(id)).digest  # type: ignore[union-attr]
    assert digest is not None
    assert (digest.file, digest.sha256) == ("app.tar", hashlib.sha256(b"content").hexdigest())
    crew.kill()
    crew.worker()
    crew.approve(id)
    assert crew.result() is True


def test_a_kept_question_stands_as_it_was_first_asked_whatever_the_code_says_later(
    crew: Crew, tmp_path: Path
) -> None:
    file = tmp_path / "question.json"
    keep = '"on_change": "keep"'
    file.write_text(f'{{"prompt": "How much?", "remind": "1h", "form": {{"type": "integer"}}, {keep}}}')
    crew.begin("r", "asks_from_file", str(file))
    id = crew.asked()
    file.write_text(f'{{"prompt": "How many?", "remind": "2h", "form": {{"type": "number"}}, {keep}}}')
    crew.kill()
    crew.worker()
    crew.later(HOUR_MS)
    assert "How much?" in crew.said_in_all(1)[0]
    crew.approve(id, data=7)
    assert crew.result() == 7


# Several


def test_several_are_asked_at_once_and_answered_in_any_order(crew: Crew) -> None:
    crew.begin("r", "asks_three")
    ids = [f"r:{n}.1" for n in (1, 2, 3)]
    wait_until(lambda: [item.id for item in crew.pending()] == ids)
    for n in (2, 0, 1):
        crew.approve(ids[n], data=n)
    assert crew.result() == [0, 1, 2]


def test_a_plain_promise_and_a_step_stand_beside_it(crew: Crew) -> None:
    crew.begin("r", "asks_both_ways")
    wait_until(lambda: {item.id for item in crew.pending()} == {"r:1.1", "r:2"})  # of the same instant
    crew.approve("r:2", data="plain")
    crew.approve("r:1.1", data="asked")
    assert crew.result() == ["asked", "plain", "nothing"]
    assert unsettled(crew) == []


def test_the_ids_are_the_same_in_every_run_of_the_same_code(crew: Crew) -> None:
    for id in ("one", "two"):
        crew.begin(id, "asks_twice")
        crew.approve(crew.asked())
        crew.approve(crew.asked())
        crew.result(id)
    ids = [[p.id.partition(":")[2] for p in search(crew.client, idPrefix=f"{id}:")] for id in ("one", "two")]
    assert sorted(ids[0]) == sorted(ids[1]) == ["1", "1.1", "1.2", "2", "2.1"]


# In a step


@pytest.mark.parametrize(("patience", "days"), [("40d", 30), (None, 1)])
def test_in_a_step_it_waits_no_longer_than_the_step_and_says_so(
    crew: Crew, patience: str | None, days: int
) -> None:
    crew.begin("r", "asks_in_a_child", patience)
    promise = crew.promise(crew.asked())
    assert promise.id == "r:1.1.1"
    assert round((promise.timeout_at - promise.created_at) / DAY_MS, 3) == days
    shortened = "r:1.1.1 must be answered within "
    assert (shortened in crew.complaints()) == (patience is None)
    crew.approve(promise.id)
    assert crew.result()["approved"]
    assert crew.complaints().count("r:1.1.1") == (patience is None)  # said once


# The deadline


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, (False, None, None)),
        ({"on_deadline": "expire"}, (False, None, None)),
        ({"on_deadline": "reject"}, (False, None, None)),
        ({"on_deadline": "approve"}, (True, None, True)),
        ({"on_deadline": "approve", "form": AMOUNT}, (True, None, None)),
        ({"on_deadline": {"amount": 1}, "form": AMOUNT}, (True, None, {"amount": 1})),
        ({"on_deadline": {"any": "value"}}, (True, None, {"any": "value"})),
        ({"on_deadline": "hold", "choices": ["ship", "hold"]}, (True, "hold", "hold")),
        ({"on_deadline": "hold", "choices": ["ship", "hold"], "form": AMOUNT}, (True, "hold", None)),
    ],
)
def test_the_deadline_means_what_was_said_it_would(
    crew: Crew, options: dict[str, Any], told: tuple[bool, str | None, Any]
) -> None:
    id = crew.ask(deadline="2d", remind="1d", **options)
    crew.later(2 * DAY_MS)
    decision = crew.result()
    assert (decision["approved"], decision["choice"], decision["data"]) == told
    assert (decision["expired"], decision["by"]) == (True, None)
    assert decision["reason"] == (None if told[0] else "nobody answered before the deadline")
    assert datetime.fromisoformat(decision["at"]) == datetime.fromtimestamp(
        crew.promise(id).timeout_at / 1_000, UTC
    )
    assert unsettled(crew) == []


def test_a_deadline_passes_while_no_process_runs(crew: Crew) -> None:
    crew.ask(deadline="2d", on_deadline="approve")
    crew.kill()
    crew.later(100 * DAY_MS)
    crew.worker()
    told = crew.result()
    assert (told["approved"], told["expired"]) == (True, True)


# Reminders and escalation


def test_those_who_are_asked_are_reminded_each_time_and_no_more_once_it_is_answered(crew: Crew) -> None:
    id = crew.ask(to=["ada", "group:ops"], remind="4h", prompt="# Deploy *1.4.2*?")
    assert crew.said() == []
    for n in (1, 2):
        crew.later(4 * HOUR_MS)
        said = crew.said_in_all(n)
        assert said[-1] == (
            f"{id} has been waiting for ada, group:ops for {4 * n}h: Deploy *1.4.2*?: hitl show {id}"
        )
    crew.approve(id)
    crew.result()
    assert unsettled(crew) == []  # the timer for the third too
    crew.later(10 * HOUR_MS)
    crew.ask("another")
    assert len(crew.said()) == 2


def test_reminders_that_were_due_while_no_worker_was_up_are_one_reminder(crew: Crew) -> None:
    id = crew.ask(remind="4h")
    crew.kill()
    crew.later(3 * DAY_MS + HOUR_MS)
    crew.worker()
    [said] = crew.said_in_all(1)
    assert "waiting for anyone for 3d 1h" in said
    crew.kill()
    crew.worker()
    crew.later(2 * HOUR_MS)
    assert crew.pending()
    assert crew.said_in_all(1)  # the next is due 3 days and 4 hours after it was asked
    crew.later(HOUR_MS)
    assert "for 3d 4h" in crew.said_in_all(2)[1]
    crew.approve(id)
    assert crew.result()["approved"]


def test_one_answered_while_no_worker_was_up_is_not_reminded_of(crew: Crew) -> None:
    id = crew.ask(remind="4h")
    crew.kill()
    crew.later(DAY_MS)
    crew.approve(id)
    crew.worker()
    assert crew.result()["approved"]
    assert crew.said() == []
    assert unsettled(crew) == []


def test_it_is_escalated_once_and_then_others_may_answer_too(crew: Crew) -> None:
    id = crew.ask(to="ada", escalate={"8h": ["lead"], "1d": "boss"})
    with pytest.raises(NotAllowed):
        crew.approve(id, by="lead")
    crew.later(8 * HOUR_MS)
    assert crew.said_in_all(1) == [
        f"{id} has been waiting for ada, lead for 8h: Well? (now for lead too): hitl show {id}"
    ]
    crew.kill()
    crew.worker()
    crew.later(20 * HOUR_MS)
    assert "waiting for ada, lead, boss for 1d 4h: Well? (now for boss too)" in crew.said_in_all(2)[1]
    crew.approve(id, by="lead")
    assert crew.result()["by"] == "lead"
    assert unsettled(crew) == []


def test_a_reminder_and_an_escalation_due_at_once_are_one_line(crew: Crew) -> None:
    crew.ask(to="ada", remind="8h", escalate={"8h": "lead"})
    crew.later(8 * HOUR_MS)
    assert "(now for lead too)" in crew.said_in_all(1)[0]


def test_what_is_asked_cannot_move_the_cursor_of_who_reads_the_reminder(crew: Crew) -> None:
    crew.ask(prompt="a\x1b[31m\u202eb", to="c\x07", remind="1h")
    crew.later(HOUR_MS)
    assert not {"\x1b", "\x07", "\u202e"} & set(crew.said_in_all(1)[0])


@pytest.fixture
def dying(hitl: Hitl) -> Iterator[Crew]:
    """A worker that has asked `r:1.1`, and died just as it began to remind of it."""
    opened = Crew(hitl)
    first = opened.worker(dies_at=5)  # the step, the request, the timer, to suspend; to begin to remind
    opened.ask(remind="1h")
    opened.later(HOUR_MS)
    first.join()
    assert "r:1.3" in unsettled(opened)
    yield opened
    opened.close()


@pytest.mark.only("file", reason="counts the requests that a worker on a file makes")
def test_a_reminder_begun_by_a_worker_that_died_is_finished_days_later(dying: Crew) -> None:
    dying.later(30 * DAY_MS)
    dying.worker()
    dying.said_in_all(2)
    dying.approve("r:1.1")
    assert dying.result()["approved"]


@pytest.mark.only("file", reason="counts the requests that a worker on a file makes")
def test_of_a_reminder_begun_by_a_worker_that_died_nothing_is_left_after_the_answer(dying: Crew) -> None:
    dying.approve("r:1.1")
    dying.later(MINUTE_MS)
    dying.worker()
    assert dying.result()["approved"]
    assert unsettled(dying) == []
    assert len(dying.said()) == 1


# What cannot be asked


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"prompt": ""}, "the prompt is empty"),
        ({"prompt": " \n # \n"}, "the prompt is empty"),
        ({"prompt": None}, "prompt must be a text"),
        ({"prompt": "\ud800"}, "surrogates"),
        ({"details": object()}, "object"),
        ({"deadline": "soon"}, "'soon' is not a duration"),
        ({"deadline": "0s"}, "more than 0"),
        ({"deadline": timedelta(0)}, "more than 0"),
        ({"deadline": timedelta(days=-1)}, "more than 0"),
        ({"deadline": timedelta(days=40_000)}, "at most 100 years"),
        ({"deadline": 5}, "5 is not a duration"),
        ({"remind": "-4h"}, "not a duration"),
        ({"remind": timedelta(0)}, "more than 0"),
        ({"form": "amount"}, "form"),
        ({"form": {"type": "amount"}}, "amount"),
        ({"form": AMOUNT, "on_deadline": {"amount": "much"}}, "amount"),
        ({"choices": "ship"}, "a list of texts"),
        ({"choices": ["ship", 7]}, "a list of texts"),
        ({"choices": ["ship", "ship"]}, "choices must be"),
        ({"choices": ["ship", " "]}, "choices must be"),
        ({"choices": ["ship"], "on_deadline": "approve"}, "on_deadline must be"),
        ({"choices": ["ship"], "on_deadline": "hold"}, "on_deadline must be"),
        ({"on_deadline": object()}, "object"),
        ({"approvals": 0}, "approvals"),
        ({"approvals": True}, "approvals"),
        ({"approvals": 2, "to": "ada"}, "approvals is 2"),
        ({"to": 5}, "a list of texts"),
        ({"to": [5]}, "a list of texts"),
        ({"to": None}, "a list of texts"),
        ({"to": {"ada": 1}}, "a list of texts"),
        ({"to": ["ada", ""]}, "is not a name"),
        ({"to": "group:"}, "is not a name"),
        ({"to": "ada", "escalate": {"soon": "lead"}}, "'soon' is not a duration"),
        ({"to": "ada", "escalate": {"8h": 5}}, "a list of texts"),
        ({"to": "ada", "escalate": ["lead"]}, "escalate must map"),
        ({"escalate": {"8h": "lead"}}, "escalate needs `to`"),
        ({"key": ""}, "not a valid key"),
        ({"key": 5}, "not a valid key"),
        ({"priority": "highest"}, "highest"),
        ({"tags": {"hitl:by": "ada"}}, "a reserved prefix"),
        ({"tags": {"resonate:external": "false"}}, "a reserved prefix"),
        ({"tags": {"team": 5}}, "tags must map"),
        ({"tags": ["team"]}, "tags must map"),
        ({"link": "javascript:alert(1)"}, "link"),
        ({"link": "https://example.org/ b"}, "link"),
        ({"link": 5}, "link"),
        ({"digest": "abc"}, "digest"),
        ({"allow_self": "no"}, "allowSelf"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_asked(
    options: dict[str, Any], complaint: str
) -> None:
    seen = Seen()
    with pytest.raises(BadInput, match=complaint):
        ask(seen.context(), **{"prompt": "Well?", **options})
    assert seen.created == []


# What of the SDK it stands on


class Seen:
    """The SDK's port to the server (resonate/effects.py, Effects), which only remembers."""

    def __init__(self) -> None:
        self.created: list[PromiseCreateReq] = []

    async def create_promise(self, req: PromiseCreateReq) -> PromiseRecord:
        self.created.append(req)
        return PromiseRecord(id=req.id, state="pending", param=req.param, timeout_at=req.timeout_at)

    async def settle_promise(self, id: str, result: object) -> PromiseRecord:
        raise AssertionError(f"{id} is not to be settled with {result!r}")

    def context(self) -> Context:
        """Return the context of a step."""
        return Context.root(
            id="r:1",
            origin_id="r",
            timeout_at=2**50,
            func_name="asking",
            effects=self,
            target_resolver=lambda group: f"poll://any@{group}",
            deps=DependencyMap(),
        )


PUT = NewRequest(question=Question(prompt="Well?"), tags={"hitl:request": "1"}, deadline_ms=DAY_MS)
UPGRADED = (
    "resonate-sdk has changed what hitl_cli/sdk/context.py stands on: `create_first` creates the promise,"
    " with what is asked in it, that the first ctx.promise() of a step finds. Look there before you allow it."
)


async def put_by(seen: Seen, end: pytest.RaisesExc[Any]) -> None:
    """Put a question, up to where the step waits or fails."""
    context = seen.context()
    with end:
        await asking(context, PUT)
    await context.flush_local_work()


def test_what_ask_creates_is_what_the_first_promise_of_the_sdk_finds() -> None:
    seen = Seen()
    asyncio.run(put_by(seen, pytest.raises(Suspended)))
    ours, theirs = seen.created
    assert (ours.id, ours.tags) == (theirs.id, {**theirs.tags, "hitl:request": "1"}), UPGRADED
    assert ours.param.data == {"prompt": "Well?"}, UPGRADED


def test_if_the_sdk_counted_otherwise_the_step_would_fail_and_not_wait_for_another_promise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Context, "_next_id", lambda self: f"{self.info.id}.0")
    refused = pytest.raises(RuntimeError, match=r"r:1\.1 was created, but the step waits for r:1\.0")
    asyncio.run(put_by(Seen(), refused))


def test_a_workflow_gets_the_arguments_that_were_approved(crew: Crew) -> None:
    id = crew.ask(
        arguments={"amount": 120, "to": "x"}, editable={"properties": {"amount": {"type": "integer"}}}
    )
    crew.approve(id, arguments={"amount": 80, "to": "x"})
    told = crew.result()
    assert (told["arguments"], told["data"], told["changed"]) == ({"amount": 80, "to": "x"},) * 2 + (True,)


def test_an_approval_is_used_once_in_a_run(crew: Crew) -> None:
    crew.begin("r", "uses")
    id = crew.asked()
    crew.approve(id)
    assert crew.result() == ["done", "approval-used"]
    used = Inbox(crew.client, Actor(person="ada", via="test")).show(id).used
    assert used is not None
    assert (used.by, used.via) == ("r", "workflow")
    assert "use of r" in crew.hitl.ok("status", "r")


def test_an_approval_is_not_used_after_its_time(crew: Crew) -> None:
    crew.begin("r", "uses", True)
    id = crew.asked()
    crew.approve(id)
    assert crew.result() == ["approval-expired"] * 2


@pytest.mark.parametrize("dies_at", range(5, 9))
def test_a_worker_that_takes_over_makes_the_same_use(hitl: Hitl, dies_at: int) -> None:
    if hitl.url.startswith("postgresql://"):
        dies_at -= 5  # several requests go at once
    opened = Crew(hitl)
    try:
        opened.worker()
        opened.begin("r", "uses")
        id = opened.asked()
        opened.kill()
        opened.approve(id)
        opened.worker(dies_at)
        wait_until(opened.is_dead)
        opened.later(LEASE_MS + 1)
        opened.worker()
        assert opened.result() == ["done", "approval-used"]
    finally:
        opened.close()
