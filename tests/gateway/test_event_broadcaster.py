"""The event broadcaster: slow readers, late readers, and rest without readers."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from hitl_cli.client.embedded import EmbeddedClient
from hitl_cli.client.wire import Promise, encode
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.gateway import event_broadcaster as module
from hitl_cli.gateway.event_broadcaster import BACKLOG, Event, EventBroadcaster, Stream
from hitl_cli.gateway.http_error import HttpError
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.watch import Change, IndexedWatch
from hitl_cli.people.actor import Actor
from hitl_cli.people.groups import groups_of
from hitl_cli.people.sight import Sight
from hitl_cli.requests.question import Question
from tests.acting import decide, rejection
from tests.inbox.requests import request

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Hitl


def test_who_reads_too_slowly_is_dropped_and_nothing_more_is_kept_for_them() -> None:
    dropped: list[bool] = []
    stream = Stream(None, lambda: dropped.append(True))
    event = Event(b"event: look\n\n")
    for _ in range(BACKLOG):
        stream.give([event], event.text)
    assert not dropped
    stream.give([event], event.text)
    assert dropped


def test_a_listener_is_given_what_names_them_their_group_or_nobody() -> None:
    reviewer = Actor(person="reviewer", via="web", groups=groups_of({"ops": ["reviewer"]}))

    def is_given(to: tuple[str, ...], starter: str | None = None) -> bool:
        question = Question(prompt="?", to=to, allow_self=starter is None)
        asked = Promise(id="r:1", state="pending", timeout_at=1, param=encode(msgspec.to_builtins(question)))
        run = Promise(
            id="r", state="pending", timeout_at=1, param=encode(None, {"hitl:by": starter or "lead"})
        )
        known: dict[str, Any] = {"id": "r:1", "workflow": "r", "title": "?"}
        change = Change(kind="asked", promise=asked, run=run, question=question, to=to, **known)
        return Event(b"", change).is_for(Sight(reviewer), mine=True)

    for names in ((), ("reviewer",), ("lead", "group:ops"), ("ops",)):
        assert is_given(names)
        assert is_given(names, starter="lead")
        assert not is_given(names, starter="reviewer")
    assert Event(b"").is_for(Sight(reviewer), mine=True)
    assert not is_given(("lead",))


def test_only_so_many_listen_at_once_and_without_them_the_watcher_rests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STREAMS_MAX", 2)
    opened: list[threading.Thread] = []

    def open_client() -> EmbeddedClient:
        opened.append(threading.current_thread())
        return EmbeddedClient(tmp_path / "hitl.db")

    async def listen() -> None:
        feed = EventBroadcaster(open_client, now_ms, asyncio.Event())
        try:
            streams = [feed.join(None, lambda: None) for _ in range(2)]
            with pytest.raises(HttpError, match="too many"):
                feed.join(None, lambda: None)
            await feed.ready()
            feed.leave(streams.pop())
            streams.append(feed.join(None, lambda: None))
            with EmbeddedClient(tmp_path / "hitl.db") as client:
                request(client, "r1")
            assert b'"r1"' in (await streams[1].next(10) or b"")
            for stream in streams:
                feed.leave(stream)
            last = feed.join(None, lambda: None)
            await feed.ready()
            with EmbeddedClient(tmp_path / "hitl.db") as client:
                request(client, "r2")
            assert b'"r2"' in (await last.next(10) or b"")
        finally:
            await asyncio.to_thread(feed.close)

    asyncio.run(listen())
    assert len(opened) == 1


def test_a_deputy_and_who_is_away_must_look_as_an_absence_begins_and_ends(hitl: Hitl) -> None:
    async def listen() -> None:
        feed = EventBroadcaster(hitl.client, now_ms, asyncio.Event())
        streams = {
            name: feed.join(Actor(person=name, via="web"), lambda: None)
            for name in ("reviewer", "Lead", "other")
        }

        async def are_told(text: bytes, *names: str) -> None:
            for name in names:
                assert text in (await streams[name].next(30) or b"")

        try:
            with hitl.client() as client:
                reviewer = Inbox(client, Actor(person="reviewer", via="test"))
                await feed.ready()
                reviewer.go_away(until=client.now() + 60_000, to="lead")
                await are_told(b"event: look", "reviewer", "Lead")
                request(client, "q")
                await are_told(b'"q"', *streams)
                reviewer.come_back()
                await are_told(b"event: look", "reviewer", "Lead")
                reviewer.go_away(until=client.now() + 5_000, to="lead")
                await are_told(b"event: look", "reviewer", "Lead")
                await are_told(b"event: look", "reviewer", "Lead")  # it has ended
                request(client, "r")
                await are_told(b'"r"', *streams)
        finally:
            await asyncio.to_thread(feed.close)

    asyncio.run(listen())


def test_each_change_is_found_once_however_often_it_is_looked_for(tmp_path: Path) -> None:
    with EmbeddedClient(tmp_path / "hitl.db") as client:
        request(client, "old")
        changes = IndexedWatch(client)
        changes.start()
        assert changes.look() == []
        for count in range(4):
            request(client, f"r{count}")
            found = changes.look() or []
            assert [(one.kind, one.id) for one in found] == [("asked", f"r{count}")]
            assert changes.look() == []


def test_what_was_asked_and_decided_between_two_looks_is_told_as_decided(tmp_path: Path) -> None:

    with EmbeddedClient(tmp_path / "hitl.db") as client:
        changes = IndexedWatch(client)
        changes.start()
        for id in ("a", "b", "c"):
            request(client, id)
            decide(client, id, rejection(by="lead", via="cli"))
        found = changes.look() or []
        assert [(one.kind, one.id, one.outcome, one.by) for one in found] == [
            ("decided", id, "rejected", "lead") for id in ("a", "b", "c")
        ]
        assert changes.look() == []


def test_who_comes_as_the_last_one_leaves_need_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READY_S", 60.0)

    async def listen() -> None:
        feed = EventBroadcaster(lambda: EmbeddedClient(tmp_path / "hitl.db"), now_ms, asyncio.Event())
        try:
            async with asyncio.timeout(20):
                for _ in range(20):
                    stream = feed.join(None, lambda: None)
                    await feed.ready()
                    feed.leave(stream)
        finally:
            await asyncio.to_thread(feed.close)

    asyncio.run(listen())
