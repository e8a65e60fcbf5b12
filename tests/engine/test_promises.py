"""promise.get, create, settle, register_callback and register_listener."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hitl_cli.engine.server import GETS, decode, encode_request, request_of
from tests.engine.conftest import EXTERNAL, INTERNAL, LIFE_MS, START_MS, TARGETED, TIMER

if TYPE_CHECKING:
    from tests.engine.conftest import Engine


def test_a_created_promise_is_shown_as_it_was_asked_for(engine: Engine) -> None:
    param = {"headers": {"k": "v"}, "data": "eyJhIjoxfQ=="}
    created = engine.ok("promise.create", id="p", timeoutAt=START_MS + 5, param=param, tags=EXTERNAL)

    assert created["promise"] == {
        "id": "p",
        "state": "pending",
        "param": param,
        "value": {},
        "tags": EXTERNAL,
        "timeoutAt": START_MS + 5,
        "createdAt": START_MS,
    }
    assert engine.promise("p") == created["promise"]


@pytest.mark.parametrize("id", ["p", "", "x" * 5_000, "a\0", "\u00e9", 7])
def test_what_this_process_asks_is_checked_as_what_came_as_json(id: object) -> None:
    for kind in GETS:
        quick, whole = (request_of(kind, {"id": id}), decode(encode_request(kind, {"id": id})))
        assert (quick.kind, quick.data, quick.known) == (whole.kind, whole.data, whole.known)


def test_a_promise_needs_neither_param_nor_tags(engine: Engine) -> None:
    created = engine.ok("promise.create", id="p", timeoutAt=START_MS + 5)["promise"]

    assert (created["param"], created["value"], created["tags"]) == ({}, {}, {})


def test_second_creation_changes_nothing_and_is_shown_the_first(engine: Engine) -> None:
    first = engine.create("p", EXTERNAL)
    engine.clock.advance(7)

    assert engine.create("p", INTERNAL, life=5) == first
    assert engine.stored("SELECT count(*) AS n FROM promises") == [{"n": 1}]


def test_creation_of_a_settled_promise_is_shown_its_settlement(engine: Engine) -> None:
    engine.create("p")
    settled = engine.settle("p")

    assert engine.create("p") == settled


@pytest.mark.parametrize(
    ("tags", "state"),
    [
        (INTERNAL, "rejected_timedout"),
        (EXTERNAL, "rejected_timedout"),
        (TARGETED, "rejected_timedout"),
        (TIMER, "resolved"),
    ],
)
def test_a_promise_whose_deadline_has_passed_is_born_settled(
    engine: Engine, tags: dict[str, str], state: str
) -> None:
    born = engine.create("p", tags, life=0)

    assert (born["state"], born["settledAt"], born["createdAt"]) == (state, START_MS, START_MS)
    assert engine.create("q", tags, life=-10)["createdAt"] == START_MS - 10
    assert engine.offers() == []


def test_a_targeted_promise_born_settled_has_a_task_that_has_ended(engine: Engine) -> None:
    engine.create("p", TARGETED, life=0)

    assert engine.task("p") == {"id": "p", "state": "fulfilled", "version": 0, "resumes": 0}


def test_a_targeted_promise_has_a_task_on_offer(engine: Engine) -> None:
    engine.create("p", TARGETED)

    assert engine.task("p") == {"id": "p", "state": "pending", "version": 0, "resumes": 0}
    assert engine.offers() == [("p", 0)]


@pytest.mark.parametrize("tags", [INTERNAL, EXTERNAL, TIMER, TIMER | TARGETED])
def test_an_untargeted_promise_and_a_timer_have_no_task(engine: Engine, tags: dict[str, str]) -> None:
    engine.create("p", tags)

    assert engine.status("task.get", id="p") == 404
    assert engine.offers() == []


@pytest.mark.parametrize("state", ["resolved", "rejected", "rejected_canceled"])
def test_settlement_records_state_value_and_instant(engine: Engine, state: str) -> None:
    engine.create("p")
    engine.clock.advance(3)
    value = {"headers": {"hitl:by": "someone"}, "data": "dHJ1ZQ=="}

    settled = engine.ok("promise.settle", id="p", state=state, value=value)["promise"]

    assert (settled["state"], settled["value"], settled["settledAt"]) == (state, value, START_MS + 3)
    assert engine.promise("p") == settled


def test_second_settlement_changes_nothing_and_is_shown_the_first(engine: Engine) -> None:
    engine.create("p")
    first = engine.settle("p", "resolved", "first")
    engine.clock.advance(1)

    assert engine.settle("p", "rejected", "second") == first
    assert engine.promise("p") == first


def test_of_two_settlements_in_one_batch_the_first_stands(engine: Engine) -> None:
    engine.create("p")
    tell = [{"id": "p", "state": state, "value": {"data": state}} for state in ("rejected", "resolved")]

    answers = [engine.send("promise.settle", **data) for data in tell]

    assert [data["promise"]["value"]["data"] for _, data in answers] == ["rejected", "rejected"]


def test_late_settlement_is_answered_200_with_the_timeout(engine: Engine) -> None:
    engine.create("p", life=10)
    engine.clock.advance(10)

    late = engine.settle("p")

    assert (late["state"], late["settledAt"], late["value"]) == ("rejected_timedout", START_MS + 10, {})


def test_settlement_just_before_the_deadline_counts(engine: Engine) -> None:
    engine.create("p", life=10)
    engine.clock.advance(9)

    assert engine.settle("p")["state"] == "resolved"


@pytest.mark.parametrize("state", ["pending", "rejected_timedout", "done", 7, None])
def test_a_client_cannot_settle_into_a_state_that_is_not_its_own(engine: Engine, state: Any) -> None:
    engine.create("p")

    assert engine.status("promise.settle", id="p", state=state, value={}) == 400
    assert engine.promise("p")["state"] == "pending"


def test_what_does_not_exist_is_not_found(engine: Engine) -> None:
    engine.create("w", TARGETED)

    assert engine.send("promise.get", id="p")[0] == 404
    assert engine.send("promise.settle", id="p", state="resolved")[0] == 404
    assert engine.send("promise.register_callback", awaited="p", awaiter="w")[0] == 404
    assert engine.send("promise.register_listener", awaited="p", address="http://x")[0] == 404


def test_settling_a_promise_ends_its_task_whoever_holds_it(engine: Engine) -> None:
    engine.hold("p")

    engine.settle("p")

    assert engine.task("p") == {"id": "p", "state": "fulfilled", "version": 1, "resumes": 0}
    assert engine.fulfill("p", 1)[0] == 409


def test_settling_a_promise_resumes_who_awaits_it(engine: Engine) -> None:
    engine.hold("w")
    engine.create("p")
    assert engine.suspend("w", 1, "p") == (200, {"preload": []})

    engine.settle("p")

    assert engine.task("w") == {"id": "w", "state": "pending", "version": 1, "resumes": 1}
    assert engine.offers() == [("w", 1)]


@pytest.mark.parametrize("state", ["pending", "acquired", "halted"])
def test_a_task_that_is_not_suspended_only_counts_the_resumption(engine: Engine, state: str) -> None:
    engine.create("w", TARGETED)
    if state == "acquired":
        assert engine.acquire("w", 0)[0] == 200
    if state == "halted":
        engine.ok("task.halt", id="w")
    for id in ("p", "q"):
        engine.create(id)
        engine.ok("promise.register_callback", awaited=id, awaiter="w")

    engine.settle("p")
    engine.settle("q")

    assert (engine.task("w")["state"], engine.task("w")["resumes"]) == (state, 2)


def test_registering_a_callback_twice_counts_once(engine: Engine) -> None:
    engine.hold("w")
    engine.create("p")
    for _ in range(2):
        assert engine.ok("promise.register_callback", awaited="p", awaiter="w")["promise"]["id"] == "p"

    engine.settle("p")

    assert engine.task("w")["resumes"] == 1


def test_a_promise_cannot_await_itself(engine: Engine) -> None:
    engine.hold("w")

    assert engine.status("promise.register_callback", awaited="w", awaiter="w") == 400


def test_only_a_promise_with_a_task_can_await(engine: Engine) -> None:
    engine.create("p")
    engine.create("plain")
    engine.create("sleep", TIMER | TARGETED)

    for awaiter in ("nobody", "plain", "sleep"):
        assert engine.status("promise.register_callback", awaited="p", awaiter=awaiter) == 422


def test_a_callback_on_behalf_of_a_settled_promise_is_answered_and_not_kept(engine: Engine) -> None:
    engine.create("w", TARGETED)
    engine.settle("w")
    engine.create("p")

    assert engine.status("promise.register_callback", awaited="p", awaiter="w") == 200
    assert engine.stored("SELECT * FROM callbacks") == []


@pytest.mark.parametrize("address", ["", "poll://workers", "ftp://x", "workers", "mailto:a@b"])
def test_a_listener_needs_an_address_that_messages_can_be_sent_to(engine: Engine, address: str) -> None:
    engine.create("p")

    assert engine.status("promise.register_listener", awaited="p", address=address) == 400


@pytest.mark.parametrize("address", ["http://x/y", "https://x", "poll://any@g", "poll://uni@g/pid"])
def test_a_listener_is_shown_the_promise_it_listens_to(engine: Engine, address: str) -> None:
    created = engine.create("p")

    answer = engine.ok("promise.register_listener", awaited="p", address=address)

    assert answer == {"promise": created}


def test_a_bare_global_promise_of_the_npm_sdk_is_external(engine: Engine) -> None:
    engine.hold("w")
    engine.create("p", {"resonate:scope": "global"}, life=10)

    assert engine.suspend("w", 1, "p")[0] == 200
    engine.clock.advance(10)
    assert engine.offers() == [("w", 1)]


def test_a_sleep_of_the_sdk_is_a_timer_that_can_be_awaited(engine: Engine) -> None:
    engine.hold("w")
    engine.create("w:1", TIMER | TARGETED | {"resonate:scope": "global"}, life=10)
    assert engine.suspend("w", 1, "w:1")[0] == 200

    engine.clock.advance(10)

    assert engine.offers() == [("w", 1)]
    assert engine.promise("w:1")["state"] == "resolved"


@pytest.mark.parametrize("id", ["", "a\x00b", "x" * 4097, 7, None])
def test_an_id_that_is_no_id_is_refused(engine: Engine, id: Any) -> None:
    assert engine.status("promise.create", id=id, timeoutAt=START_MS + LIFE_MS) == 400


@pytest.mark.parametrize("timeout_at", [-1, -0.5, 2**62 + 1, 2**70, 1e300, "soon", None])
def test_a_deadline_that_is_no_instant_is_refused(engine: Engine, timeout_at: Any) -> None:
    assert engine.status("promise.create", id="p", timeoutAt=timeout_at) == 400


def test_a_deadline_with_a_fraction_counts_whole_milliseconds(engine: Engine) -> None:
    """The npm SDK adds fractions of seconds to its clock."""
    made = engine.ok("promise.create", id="p", timeoutAt=START_MS + 0.75, tags=EXTERNAL)

    assert made["promise"]["timeoutAt"] == START_MS


def test_ids_and_values_of_any_script_come_back_as_they_were(engine: Engine) -> None:
    id, value = "заявка:1/ü😀'\"%_", {"headers": {"ключ": "\n\t\u0000"}, "data": "日本語"}
    engine.create(id)

    settled = engine.ok("promise.settle", id=id, state="resolved", value=value)

    assert settled["promise"]["value"] == value
    assert engine.promise(id)["value"] == value
