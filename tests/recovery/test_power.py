"""Power failures: a response is sent after its commit is on disk, and confirmed data are found there.

What processes write and sync is recorded by strace, and what a disk holds after a failure at any
moment is worked out from that: whatever was not synced may be there, or not, sector by sector.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hitl_cli.client.embedded import EmbeddedClient
from tests.conftest import HITL
from tests.recovery.disks import Disk, Event, trace, tracer
from tests.recovery.test_races import blocking
from tests.worker.watching import promise_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.conftest import Hitl


TURNS = 40
LOG_BYTES = 150_000
"""So little that the log is copied and begun anew many times."""

FAILURES = 60
REPOSITORY = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.skipif(tracer() is None, reason="needs strace, and to be allowed to use it"),
    pytest.mark.only("file", reason="cuts the power of the disk of a file"),
]


@dataclass(frozen=True)
class Recorded:
    """What two engine processes did to their disk, and where the file and their answers were."""

    root: Path
    database: Path
    answers: str
    events: list[Event]

    @property
    def log(self) -> Path:
        return Path(f"{self.database}-wal")

    def disk(self) -> Disk:
        """Return the disk as it was before."""
        return Disk(self.root)


def record(root: Path, *more: str) -> Recorded:
    """Have two processes answer requests on a new file in a new folder."""
    database, answers = root / "new" / "folder" / "hitl.db", root / "answers"
    command = [sys.executable, "-m", "tests.recovery.answering", str(database), str(answers)]
    command += [str(TURNS), str(LOG_BYTES), *more]
    events = trace(command, root / "printed", os.environ, REPOSITORY)
    return Recorded(root, database, str(answers), events)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Two engine processes at work."""
    return record(tmp_path_factory.mktemp("disk"))


def unsynced_answers(recorded: Recorded) -> Iterator[Event]:
    """Yield the answers that left before all was on disk that their process had written for them."""
    disk = recorded.disk()
    for event in recorded.events:
        if event.kind == "write" and event.path.startswith(recorded.answers):
            found = disk.found_again(recorded.database) and disk.found_again(recorded.log)
            if not found or any(disk.waits(path, event.pid) for path in (recorded.database, recorded.log)):
                yield event
        disk.follow(event)


def test_every_answer_of_an_engine_leaves_after_its_commit_is_on_disk(recorded: Recorded) -> None:
    written = [event for event in recorded.events if event.kind == "write"]
    assert len([event for event in written if event.path.startswith(recorded.answers)]) > 4 * TURNS
    begun_anew = [event for event in written if event.path == str(recorded.log) and event.offset == 0]
    assert len(begun_anew) > 3
    assert list(unsynced_answers(recorded)) == []


def test_an_engine_that_does_not_sync_would_be_found_out(tmp_path: Path) -> None:
    assert list(unsynced_answers(record(tmp_path, "unsynced"))) != []


@pytest.mark.parametrize("kept", [0.0, 0.5, 1.0])
def test_after_a_power_failure_at_any_moment_every_answer_given_is_in_the_file(
    recorded: Recorded, tmp_path: Path, kept: float
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    moments = set(chance.sample(range(len(recorded.events)), FAILURES // 3))
    told = answers_before_a_sync(recorded)
    moments |= set(chance.sample(told, min(len(told), FAILURES // 3)))
    disk, answered = recorded.disk(), dict[str, str | None]()
    for number, event in enumerate(recorded.events):
        if number in moments:
            folder = tmp_path / str(number)
            found = power_failure(disk, recorded, folder, chance, kept)
            assert found or not answered
            if found:
                the_file_is_sound_and_has(folder / "hitl.db", answered)
        disk.follow(event)
        if event.kind == "write" and event.path.startswith(recorded.answers):
            id, *mark = event.data.decode().split()
            answered[id] = mark[0] if mark else None


def answers_before_a_sync(recorded: Recorded) -> list[int]:
    """Return the moments after an answer when the disk still has to take what any process has written."""
    disk, found = recorded.disk(), []
    pids = {event.pid for event in recorded.events}
    for number, event in enumerate(recorded.events):
        disk.follow(event)
        if event.path.startswith(recorded.answers) and any(disk.waits(recorded.log, pid) for pid in pids):
            found.append(number + 1)
    return found


def power_failure(disk: Disk, recorded: Recorded, folder: Path, chance: random.Random, kept: float) -> bool:
    """Write to a folder what is on disk after a power failure now. Return whether the file is found again."""
    folder.mkdir()
    database = recorded.database
    for path in (database, recorded.log, Path(f"{database}-journal")):
        if disk.found_again(path):
            (folder / path.name).write_bytes(disk.after_power_failure(path, chance, kept))
    return (folder / database.name).exists()


def the_file_is_sound_and_has(database: Path, answered: dict[str, str | None]) -> None:
    """Check that a file that a failure left behind can be used, and that all answers hold."""
    with EmbeddedClient(database) as client:
        for id, mark in answered.items():
            promise = promise_of(client, id)
            if mark is not None:
                assert promise.state == "resolved"
                assert promise.value is not None
                assert promise.value.data == mark
    with closing(sqlite3.connect(database)) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize(
    "command", [["start", "r"], ["approve", "p"], ["reject", "p", "--reason", "no"]], ids=lambda args: args[0]
)
def test_a_command_says_what_it_did_after_that_is_on_disk(hitl: Hitl, command: Sequence[str]) -> None:
    if command[0] != "start":
        with hitl.client() as client:
            client.call_many([blocking("p", client.now() + 3_600_000)])
    out = hitl.folder / "said"
    events = trace([HITL, *command], out, at_once(hitl), hitl.folder)
    said = [n for n, event in enumerate(events) if event.path == str(out) and event.data]
    assert said
    disk = Disk(hitl.folder)
    log = Path(f"{hitl.database}-wal")
    written = 0
    for event in events[: said[0]]:
        disk.follow(event)
        written += event.kind == "write" and event.path == str(log)
    assert written
    assert not any(disk.waits(log, event.pid) for event in events)


def test_what_a_disk_failed_to_sync_is_written_again_and_synced_before_anybody_hears_of_it(
    hitl: Hitl,
) -> None:
    with hitl.client() as client:
        client.call_many([blocking("p", client.now() + 3_600_000)])
        fault = "fdatasync:error=EIO:when=2"  # the first is when it opens the file
        events = trace([HITL, "approve", "p"], hitl.folder / "1", at_once(hitl), hitl.folder, fault)
        assert promise_of(client, "p").state == "resolved"
        log = Path(f"{hitl.database}-wal")
        size = log.stat().st_size
    told = next(n for n, one in enumerate(events) if one.path == str(hitl.folder / "1") and one.data)
    ours = [one for one in events[:told] if one.path == str(log)]
    again = max(n for n, one in enumerate(ours) if one.kind == "write" and one.offset == 0)
    assert len(ours[again].data) == size
    assert [one.kind for one in ours[again + 1 :]] == ["sync"]


def test_what_a_process_killed_before_its_sync_left_behind_is_synced_before_anybody_hears_of_it(
    hitl: Hitl,
) -> None:
    with hitl.client() as client:
        client.call_many([blocking("p", client.now() + 3_600_000)])
        log_is_left_behind(client)
        fault = "fdatasync:error=EIO:signal=KILL:when=2"  # the first is when it opens the file
        killed = trace(
            [HITL, "approve", "p"], hitl.folder / "1", hitl.env, hitl.folder, fault, code=-signal.SIGKILL
        )
    heard = trace([HITL, "approve", "p"], hitl.folder / "2", at_once(hitl), hitl.folder)

    assert "already" in (hitl.folder / "2").read_text()
    disk, log = Disk(hitl.folder), Path(f"{hitl.database}-wal")
    disk.follow_all(killed)
    assert any(disk.waits(log, event.pid) for event in killed)
    for event in heard:
        if event.path == str(hitl.folder / "2") and event.data:
            break
        disk.follow(event)
    assert not any(disk.waits(log, event.pid) for event in killed)


def log_is_left_behind(client: EmbeddedClient) -> None:
    """Have a client leave the log as it is when it closes, as if it were killed."""
    client._server.store._db.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)


def at_once(hitl: Hitl) -> dict[str, str]:
    """Return an environment in which a command writes what it says when it says it, as on a terminal."""
    return {**hitl.env, "PYTHONUNBUFFERED": "1"}
