"""Bells beside the database: who rings is heard, and nothing depends on it."""

from __future__ import annotations

import fcntl
import os
import resource
import select
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from hitl_cli.engine.doorbell import POLL_S, QUIET_POLL_S, WATCHERS, Bell, Ringer, bells_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GROUP = "poll://any@workers"
MANY_DESCRIPTORS = 1_500
"""More than `select` knows."""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "hitl.db"


@pytest.fixture
def hang(database: Path) -> Iterator[Callable[..., Bell]]:
    """Hang a bell that is taken down after the test."""
    bells: list[Bell] = []

    def hung(group: str, name: str = "1", beside: Path = database) -> Bell:
        bells.append(Bell(beside, group, name))
        return bells[-1]

    yield hung
    for bell in bells:
        bell.close()


@pytest.fixture
def ringer(database: Path) -> Iterator[Ringer]:
    made = Ringer(database)
    yield made
    made.close()


def rung(bell: Bell) -> bool:
    """Whether the bell was rung since it last answered."""
    ready, _, _ = select.select([bell], [], [], 0)
    bell.answer()
    return bool(ready)


def test_a_bell_of_the_group_is_rung_and_others_are_not(hang: Callable[..., Bell], ringer: Ringer) -> None:
    one, two, other, watcher = hang("workers", "1"), hang("workers", "2"), hang("others"), hang(WATCHERS)

    ringer.ring([GROUP], watchers=False)

    assert [rung(bell) for bell in (one, two, other, watcher)] == [True, True, False, False]


def test_a_message_for_one_process_rings_that_one(hang: Callable[..., Bell], ringer: Ringer) -> None:
    one, two = hang("workers", "1"), hang("workers", "2")

    ringer.ring(["poll://uni@workers/2"], watchers=False)

    assert [rung(one), rung(two)] == [False, True]


FORKS = """
import os, select, sys
from pathlib import Path
from hitl_cli.client.embedded import EmbeddedClient
from hitl_cli.engine.doorbell import Ringer

def rung():
    return bool(select.select([client._bell], [], [], 0)[0])

client = EmbeddedClient(Path(sys.argv[1]))
client.wait(0)
if (pid := os.fork()) == 0:
    client.wait(0)
    Ringer(Path(sys.argv[1])).ring([], watchers=True)
    assert rung()
    client.wait(0)
    assert not rung()
    client.close()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert rung()
client.wait(0)
Ringer(Path(sys.argv[1])).ring([], watchers=True)
assert rung()
client.close()
"""


def test_a_forked_process_hangs_a_bell_of_its_own_and_leaves_that_of_its_parent(database: Path) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS, database], check=True, timeout=60)
    assert list(bells_folder(database).iterdir()) == []


def test_watchers_and_everyone_are_rung_apart(hang: Callable[..., Bell], ringer: Ringer) -> None:
    worker, watcher = hang("workers"), hang(WATCHERS)

    ringer.ring([], watchers=True)
    assert [rung(worker), rung(watcher)] == [False, True]
    ringer.ring([], watchers=False, everyone=True)
    assert [rung(worker), rung(watcher)] == [True, False]


def test_a_bell_that_answered_is_silent_until_it_is_rung_again(
    hang: Callable[..., Bell], ringer: Ringer
) -> None:
    bell = hang("workers")
    for _ in range(3):
        ringer.ring([GROUP], watchers=False)

    assert rung(bell)
    assert not rung(bell)


def test_waiting_ends_when_the_bell_rings(hang: Callable[..., Bell], ringer: Ringer) -> None:
    bell = hang(WATCHERS)
    ringer.ring([], watchers=True)

    before = time.monotonic()
    bell.wait(60)

    assert time.monotonic() - before < POLL_S


def test_ringing_a_full_bell_neither_blocks_nor_takes_it_down(
    hang: Callable[..., Bell], ringer: Ringer
) -> None:
    bell = hang("workers")
    for _ in range(5_000):
        ringer.ring([GROUP], watchers=False)

    assert ringer.hears("workers")
    assert rung(bell)


@pytest.mark.parametrize("group", ["a/b", "a~b", "a b", "ü", "..", "50%"])
def test_a_group_of_any_name_is_heard(hang: Callable[..., Bell], ringer: Ringer, group: str) -> None:
    bell = hang(group, "host~1/2")

    assert ringer.hears(group)
    bell.answer()
    ringer.ring([f"poll://any@{group}"], watchers=False)
    # A group's name that has a slash cannot be told from a process of a shorter group in an address.
    assert rung(bell) is ("/" not in group)


def test_nobody_hears_where_nobody_listens(hang: Callable[..., Bell], ringer: Ringer) -> None:
    assert not ringer.hears("workers")
    hang("others")
    assert not ringer.hears("workers")


def test_who_took_the_bell_down_is_not_heard(hang: Callable[..., Bell], ringer: Ringer) -> None:
    bell = hang("workers")
    assert ringer.hears("workers")

    bell.close()

    assert not ringer.hears("workers")


def test_a_socket_whose_process_was_killed_is_cleared_away(database: Path, ringer: Ringer) -> None:
    folder = bells_folder(database)
    folder.mkdir()
    stale = folder / "workers~1"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(stale))
    assert stale.exists()

    assert not ringer.hears("workers")
    assert not stale.exists()


def test_ringing_clears_a_stale_socket_away_too(
    database: Path, ringer: Ringer, hang: Callable[..., Bell]
) -> None:
    live = hang("workers", "live")
    stale = bells_folder(database) / "workers~dead"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(stale))

    ringer.ring([GROUP], watchers=False)

    assert not stale.exists()
    assert rung(live)


def test_a_process_that_was_killed_can_hang_its_bell_again(
    database: Path, hang: Callable[..., Bell], ringer: Ringer
) -> None:
    folder = bells_folder(database)
    folder.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(folder / "workers~1"))

    bell = hang("workers", "1")
    ringer.ring([GROUP], watchers=False)

    assert rung(bell)


def test_a_bell_hung_in_the_same_tick_of_the_clock_as_another_is_heard(
    database: Path, hang: Callable[..., Bell], ringer: Ringer
) -> None:
    folder = bells_folder(database)
    hang("workers", "1")
    tick = time.time_ns()
    os.utime(folder, ns=(tick, tick))
    ringer.ring([GROUP], watchers=False)

    second = hang("workers", "2")
    os.utime(folder, ns=(tick, tick))
    ringer.ring([GROUP], watchers=False)

    assert rung(second)


def test_a_bell_is_heard_beside_a_database_whose_path_is_too_long_for_a_socket(
    tmp_path: Path, hang: Callable[..., Bell]
) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    ringer = Ringer(deep / "hitl.db")

    bell = hang("workers", "1", deep / "hitl.db")
    ringer.ring([GROUP], watchers=False)

    assert bell.fileno() >= 0
    assert rung(bell)
    assert ringer.hears("workers")
    ringer.close()


@pytest.mark.parametrize("name", ["n" * 150, "n" * 300])
def test_where_no_bell_can_hang_its_owner_looks_more_often(hang: Callable[..., Bell], name: str) -> None:
    bell = hang("workers", name)

    assert bell.fileno() == -1
    assert bell.poll_s == QUIET_POLL_S
    bell.wait(0)
    bell.close()


def test_ringing_a_name_that_no_socket_can_have_is_harmless(database: Path, ringer: Ringer) -> None:
    bells_folder(database).mkdir()
    (bells_folder(database) / f"workers~{'n' * 150}").touch()

    ringer.ring([GROUP, "http://example.org/hook"], watchers=True)

    assert not ringer.hears("workers")


def test_the_folder_of_the_bells_is_its_owners_alone(database: Path, hang: Callable[..., Bell]) -> None:
    hang("workers")

    assert bells_folder(database).stat().st_mode & 0o777 == 0o700


def test_a_bell_is_heard_in_a_process_with_many_descriptors(
    database: Path, hang: Callable[..., Bell]
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * MANY_DESCRIPTORS:
        pytest.skip("so many descriptors are not allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * MANY_DESCRIPTORS), hard))
    bell = hang(WATCHERS)
    assert bell._socket is not None
    high = fcntl.fcntl(bell.fileno(), fcntl.F_DUPFD, MANY_DESCRIPTORS)
    bell._socket.close()
    bell._socket = socket.socket(fileno=high)
    bell._socket.setblocking(False)
    Ringer(database).ring([], watchers=True)
    began = time.monotonic()
    bell.wait(POLL_S)
    assert time.monotonic() - began < POLL_S
