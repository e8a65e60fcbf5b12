"""Many requests, one message: at the end of a window of time, with what still matters then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hitl_cli.client.protocol import search
from hitl_cli.client.tags import DIGEST
from hitl_cli.inbox import Inbox
from hitl_cli.people.actor import Actor
from tests.conftest import wait_until
from tests.notify.people import Town
from tests.recovery.crew import DAY_MS, HOUR_MS, MINUTE_MS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hitl_cli.client.wire import Promise
    from tests.conftest import Hitl
    from tests.notify.receivers import HttpReceiver

WINDOW_MS = 6 * HOUR_MS


@pytest.fixture
def town(hitl: Hitl, receiver: HttpReceiver) -> Iterator[Town]:
    """A reviewer who wants one message every six hours, and a lead who hears of all at once."""
    opened = Town(hitl, receiver)
    opened.settle_in(reviewer=opened.at("reviewer", digest="6h"), lead=opened.at("lead"))
    clock = opened.crew.clock()
    opened.crew.later(WINDOW_MS - clock % WINDOW_MS)  # a window begins, and a slow test stays in it
    yield opened
    opened.close()


def digests(town: Town) -> list[Promise]:
    """Return the runs that send digests."""
    return [p for p in search(town.crew.client, root=True) if (call := p.call) and call.func == DIGEST]


def gathered(town: Town, count: int) -> None:
    """Wait until so much is kept for the one digest there is, and nobody works."""
    from hitl_cli.notify.digest_store import gathered_in

    wait_until(lambda: digests(town) and len(gathered_in(town.crew.client, digests(town)[-1].id)) >= count)
    town.idle()


def test_what_comes_within_the_window_is_one_message_at_its_end(hitl: Hitl, town: Town) -> None:
    town.worker()
    town.worker()
    ids = [town.ask(f"r{n}", to=["reviewer"]) for n in range(4)]
    moved = town.ask("r4", to=["reviewer"], reassign="assignees")
    gathered(town, 5)
    assert town.receiver.received == []
    assert len(digests(town)) == 1
    assert "queued" in hitl.ok("show", ids[0])
    assert {run["id"] for run in hitl.json("status")} == {f"r{n}" for n in range(5)}  # not the digest
    town.crew.approve(ids[3], by="reviewer")
    reviewer = Inbox(town.crew.client, Actor(person="reviewer", via="test"))
    reviewer.assign(moved, ["ops"], town.crew.told["reach"].now, "default")
    town.crew.later(WINDOW_MS + MINUTE_MS)
    [sent] = town.sent(1)
    assert sent == ("reviewer", "digest", " ".join(ids[:3]))
    assert town.receiver.received[0].json["data"]["subject"] == "3 requests are waiting for you"
    wait_until(lambda: digests(town)[0].state == "resolved")
    town.crew.later(2 * MINUTE_MS)
    [told] = town.told(ids[0])
    assert (told.last and told.last.digest, told.next_at) == (True, None), told
    assert "notified by webhook in a digest" in " ".join(hitl.ok("show", ids[0]).split())
    assert len(town.sent(1)) == 1
    wait_until(lambda: [one for one in town.told_so_far(moved) if one.who == "reviewer"] == [])


def test_what_is_urgent_goes_at_once(town: Town) -> None:
    town.worker()
    id = town.ask(to=["reviewer"], priority="urgent")
    assert town.sent(1) == [("reviewer", "asked", id)]
    assert digests(town) == []


def test_what_came_of_it_is_in_the_next_message_for_who_heard_of_it_and_not_otherwise(town: Town) -> None:
    town.worker()
    quick, slow = town.ask("quick", to=["reviewer", "lead"]), town.ask("slow", to=["reviewer", "lead"])
    gathered(town, 2)
    town.crew.approve(quick, by="lead")
    town.crew.result("quick")
    town.crew.later(WINDOW_MS + MINUTE_MS)
    wait_until(lambda: town.crew.pending() is not None and town.sent_to("reviewer") == [("digest", slow)])
    town.idle()
    town.crew.later(2 * MINUTE_MS)
    town.told(slow, 2)
    town.crew.approve(slow, by="lead")
    wait_until(lambda: len(digests(town)) == 2)
    town.idle()
    town.crew.later(WINDOW_MS + MINUTE_MS)
    wait_until(lambda: town.crew.pending() is not None and len(town.sent_to("reviewer")) == 2)
    assert town.sent_to("reviewer")[-1] == ("digest", slow)
    said = town.receiver.received[-1].json["data"]
    assert (said["subject"], said["requests"][0]["outcome"]) == ("1 was decided", "approved")


def test_a_digest_outlives_its_workers_and_is_tried_again(town: Town) -> None:
    town.worker()
    id = town.ask(to=["reviewer"])
    gathered(town, 1)
    town.crew.kill()
    town.receiver.fail_with(503)
    town.crew.later(WINDOW_MS + MINUTE_MS)
    town.worker()
    wait_until(lambda: town.crew.pending() and len(town.receiver.received) == 1)
    town.idle()
    town.crew.later(3_000)
    assert town.sent(2) == [("reviewer", "digest", id)] * 2
    first, second = town.receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]


def test_where_all_of_it_was_decided_nothing_is_sent(town: Town) -> None:
    town.worker()
    id = town.ask(to=["reviewer"])
    gathered(town, 1)
    town.crew.approve(id, by="reviewer")
    town.crew.later(DAY_MS)
    wait_until(lambda: town.crew.pending() is not None and digests(town)[0].state == "resolved")
    assert town.receiver.received == []
