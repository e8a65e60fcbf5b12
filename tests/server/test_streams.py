"""Messages over server-sent events: each arrives once, for any reader."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from hitl_cli.client.protocol import ProtocolRequest
from hitl_cli.engine.wall_clock import now_ms
from tests.conftest import wait_until
from tests.server.conftest import ADDRESS, EXTERNAL, GROUP, LIFE_MS, TARGETED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.conftest import Hitl
    from tests.server.conftest import Served

MANY = 10_000
BATCH = 1_000


def create(hitl: Hitl, ids: list[str], tags: Mapping[str, str] = TARGETED) -> None:
    """Create promises past the server, in the file."""
    with hitl.client() as client:
        for at in range(0, len(ids), BATCH):
            client.call_many(
                [
                    ProtocolRequest(
                        "promise.create", {"id": id, "timeoutAt": now_ms() + LIFE_MS, "tags": dict(tags)}
                    )
                    for id in ids[at : at + BATCH]
                ]
            )


def listen_and_settle(hitl: Hitl, ids: list[str], address: str) -> None:
    """Create promises that an address listens to, and settle them."""
    create(hitl, ids, EXTERNAL)
    with hitl.client() as client:
        for at in range(0, len(ids), BATCH):
            batch = ids[at : at + BATCH]
            listens = [
                ProtocolRequest("promise.register_listener", {"awaited": id, "address": address})
                for id in batch
            ]
            settles = [ProtocolRequest("promise.settle", {"id": id, "state": "resolved"}) for id in batch]
            client.call_many(listens + settles)


def test_an_offer_has_the_protocols_shape(served: Served) -> None:
    reader = served.reader()
    served.create("t")
    [message] = wait_until(lambda: list(reader.messages))
    assert message == {
        "kind": "execute",
        "data": {"task": {"id": "t", "version": 0}},
        "head": {"version": "2026-04-01"},
    }


def test_word_of_a_promise_reaches_the_one_that_listens_and_is_then_forgotten(
    hitl: Hitl, served: Served
) -> None:
    reader = served.reader(id="one")
    other = served.reader(id="two")
    listen_and_settle(hitl, ["p"], f"poll://uni@{GROUP}/one")
    wait_until(reader.words)
    wait_until(lambda: unblocks(hitl) == 0)
    assert reader.words() == ["p"]
    assert other.words() == []


def unblocks(hitl: Hitl) -> int:
    """Return how many messages of settled promises wait in the file."""
    with closing(sqlite3.connect(hitl.database)) as db:
        return int(db.execute("SELECT count(*) FROM unblocks").fetchone()[0])


def test_a_message_says_what_is_not_ascii(served: Served) -> None:
    reader = served.reader()
    served.create("größe-☃")
    wait_until(reader.tasks)
    assert reader.tasks() == [("größe-☃", 0)]


@pytest.mark.long
@pytest.mark.heavy
@pytest.mark.timeout(90)
def test_offers_to_a_reader_that_reads_slowly_all_arrive_once(hitl: Hitl, served: Served) -> None:
    reader = served.reader(pace_s=0.1)
    ids = [f"t{n}" for n in range(MANY)]
    create(hitl, ids)
    wait_until(lambda: len(reader.messages) > 60, 60)  # which takes longer than a task stays with others
    assert served.send("promise.get", {"id": "t0"})[0] == 200
    reader.pace_s = 0
    wait_until(lambda: len(reader.messages) >= MANY, 60)
    assert Counter(id for id, _ in reader.tasks()) == Counter(ids)


@pytest.mark.heavy
@pytest.mark.timeout(90)
def test_word_to_a_reader_that_reads_slowly_all_arrives_once_and_is_forgotten(
    hitl: Hitl, served: Served
) -> None:
    reader = served.reader(id="one", pace_s=0.1)
    ids = [f"p{n}" for n in range(MANY)]
    listen_and_settle(hitl, ids, f"poll://uni@{GROUP}/one")
    wait_until(lambda: len(reader.messages) > 30, 60)
    assert unblocks(hitl) > MANY // 2  # they wait in the file, not in memory
    reader.pace_s = 0
    wait_until(lambda: len(reader.messages) >= MANY, 60)
    wait_until(lambda: unblocks(hitl) == 0)
    assert Counter(reader.words()) == Counter(ids)


def test_a_reader_that_reads_nothing_stalls_nobody(hitl: Hitl, served: Served) -> None:
    stuck = served.reader(id="stuck", pace_s=60)
    create(hitl, [f"t{n}" for n in range(2_000)])
    quick = served.reader(group="others", id="quick")
    served.create("other", {"resonate:target": "poll://any@others"})
    wait_until(quick.tasks)
    late = served.reader(id="late")
    wait_until(lambda: len(late.tasks()) >= 2_000 - 300)
    assert len(stuck.messages) <= 1


def test_what_a_vanished_reader_was_sent_goes_to_the_next_at_once(served: Served) -> None:
    first = served.reader(id="first")
    for n in range(5):
        served.create(f"t{n}")
    wait_until(lambda: len(first.messages) == 5)
    assert served.acquire("t0", 0)[0] == 200
    began = now_ms()
    first.vanish()
    second = served.reader(id="second")
    wait_until(lambda: len(second.messages) == 4)
    assert now_ms() - began < 4_000  # and not when the offers are renewed
    assert sorted(second.tasks()) == [(f"t{n}", 0) for n in range(1, 5)]


def test_word_that_a_vanished_reader_may_not_have_read_is_sent_again(hitl: Hitl, served: Served) -> None:
    first = served.reader(id="one", pace_s=60)
    ids = [f"p{n}" for n in range(3_000)]
    listen_and_settle(hitl, ids, f"poll://uni@{GROUP}/one")
    wait_until(lambda: len(first.messages) == 1)
    first.vanish()
    second = served.reader(id="one")
    wait_until(lambda: len(second.messages) >= 1_000)
    wait_until(lambda: unblocks(hitl) == 0)


def test_two_readers_share_what_comes_and_none_gets_what_the_other_has(hitl: Hitl, served: Served) -> None:
    readers = [served.reader(id=f"r{n}") for n in range(2)]
    ids = [f"t{n}" for n in range(400)]
    create(hitl, ids)
    wait_until(lambda: sum(len(reader.messages) for reader in readers) >= 400)
    assert Counter(id for reader in readers for id, _ in reader.tasks()) == Counter(ids)
    assert min(len(reader.messages) for reader in readers) >= 100


def test_what_one_does_not_acquire_is_offered_to_another_and_not_again_to_it(served: Served) -> None:
    idle = served.reader(id="idle")
    served.create("t")
    wait_until(idle.tasks)
    other = served.reader(id="other")
    wait_until(other.tasks)
    assert served.acquire("t", 0)[0] == 200
    assert (idle.tasks(), other.tasks()) == ([("t", 0)], [("t", 0)])


def test_a_task_that_is_released_is_offered_again_at_its_new_version(served: Served) -> None:
    reader = served.reader()
    served.create("t")
    wait_until(reader.tasks)
    assert served.acquire("t", 0)[0] == 200
    served.ok("task.release", id="t", version=1)
    wait_until(lambda: len(reader.messages) == 2)
    assert reader.tasks() == [("t", 0), ("t", 1)]


def test_an_address_of_one_reaches_the_one_that_came_last_under_that_name(served: Served) -> None:
    first, last = served.reader(id="twin"), served.reader(id="twin")
    served.create("t", {"resonate:target": f"poll://uni@{GROUP}/twin"})
    wait_until(last.tasks)
    assert first.tasks() == []
    last.vanish()
    wait_until(first.tasks)


def test_an_address_that_prefers_one_is_for_any_of_the_group(served: Served) -> None:
    reader = served.reader(id="another")
    served.create("t", {"resonate:target": f"{ADDRESS}/absent"})
    served.create("p", EXTERNAL)
    served.ok("promise.register_listener", awaited="p", address=f"{ADDRESS}/absent")
    served.ok("promise.settle", id="p", state="resolved", value={})
    wait_until(lambda: len(reader.messages) == 2)
    assert (reader.tasks(), reader.words()) == ([("t", 0)], ["p"])


def test_a_stream_needs_a_group_and_an_id(served: Served) -> None:
    for path in ("/poll/g", "/poll/g/", "/poll//i", "/poll/g/a%2Fb", f"/poll/g/{'x' * 300}"):
        assert served.raw("GET", path)[0] in (400, 404), path


def test_two_servers_on_one_file_share_the_work_and_hear_each_other(
    serve: Callable[..., Served], hitl: Hitl
) -> None:
    one, two = serve(), serve()
    readers = [one.reader(id="a"), two.reader(id="b")]
    ids = [f"t{n}" for n in range(200)]
    create(hitl, ids)
    wait_until(lambda: sum(len(reader.messages) for reader in readers) >= 200)
    assert Counter(id for reader in readers for id, _ in reader.tasks()) == Counter(ids)
    assert min(len(reader.messages) for reader in readers) >= 20
    one.create("from-one", {"resonate:target": f"poll://uni@{GROUP}/b"})
    wait_until(lambda: ("from-one", 0) in readers[1].tasks())


def test_streams_are_counted(served: Served) -> None:
    reader = served.reader()
    served.create("t")
    wait_until(reader.tasks)
    assert served.metric("hitl_streams") == 1
    assert served.metric('resonate_messages_total{kind="execute"}') == 1
    assert served.metric("hitl_tasks_pending") == 1
    assert json.dumps(reader.messages)
    reader.vanish()
    wait_until(lambda: served.metric("hitl_streams") == 0)
