"""E-mail verification across two services that are killed at any time: one mail, one run."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import pytest

from hitl_cli.builtin import verification_api
from hitl_cli.builtin.send_email import SOON
from hitl_cli.client.embedded import EmbeddedClient
from hitl_cli.client.protocol import search
from hitl_cli.people.actor import Actor
from hitl_cli.people.contacts import Directory, EmailSettings, NotificationSettings
from tests.conftest import NOBODY, wait_until
from tests.notify.receivers import Mailbox
from tests.recovery.deaths import work_and_die_at
from tests.recovery.processes import MovedClock, start, work
from tests.worker.watching import promise_of, result_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from multiprocessing.process import BaseProcess
    from pathlib import Path

LEASE_MS = 15_000
ADDRESS = "a@example.org"
RUN = f"workflow-{ADDRESS}"
HOUR = timedelta(hours=1)
SERVICES = {"default": 6, "email-service": 3}
"""The group of each service, and the least requests that it makes; how many depends on which is quicker."""


class Life:
    """A verification, in which the first worker of one of the services dies before its nth request."""

    def __init__(
        self,
        folder: Path,
        mailbox: Mailbox,
        victim: str,
        dies_at: int | None,
        told: Mapping[str, object] | None = None,
    ) -> None:
        folder.mkdir()
        self._told = told
        self._ahead_ms = 0
        email = EmailSettings(host="127.0.0.1", port=mailbox.port, tls="none", from_="hitl@example.org")
        self._database = folder / "hitl.db"
        self._reach = NotificationSettings(directory=Directory(email=email), keys=folder / "keys")
        self._clock = MovedClock(folder / "clock")
        self.client = EmbeddedClient(self._database, self._clock)
        self.died = False
        self._victim = victim
        self._workers = {
            group: self._worker(group, dies_at if group == victim else None) for group in SERVICES
        }

    def _worker(self, group: str, dies_at: int | None = None) -> BaseProcess:
        args: tuple[object, ...] = (
            self._database,
            None,
            LEASE_MS,
            {},
            self._clock,
            group,
            self._reach,
            self._told,
        )
        return start(work, *args) if dies_at is None else start(work_and_die_at, dies_at, *args)

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition; another worker takes over, past the lease, from the one that died."""

        def met() -> object:
            if not self.died and self._workers[self._victim].exitcode is not None:
                self.died = True
                self._clock.move(LEASE_MS)
                self._workers[self._victim] = self._worker(self._victim)
            return condition()

        wait_until(met)

    def later(self, time: timedelta) -> None:
        """Move the clock on."""
        self._ahead_ms += time // timedelta(milliseconds=1)
        self._clock.move(self._ahead_ms)

    def sleeps(self, id: str) -> bool:
        """Whether a call waits for a timer, and for nothing else."""
        timers = search(self.client, state="pending", idPrefix=f"{id}.")
        return bool(timers) and all("resonate:timer" in timer.tags for timer in timers)

    def close(self) -> None:
        for worker in self._workers.values():
            worker.kill()
            worker.join()
        self.client.close()


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    """An SMTP server, for all lives."""
    with Mailbox() as box:
        yield box


@pytest.mark.heavy
@pytest.mark.parametrize("victim", SERVICES)
def test_a_service_killed_at_any_of_its_requests_sends_one_mail_and_the_run_completes(
    tmp_path: Path, mailbox: Mailbox, victim: str
) -> None:
    copies = []
    for dies_at in count():
        mailbox.received.clear()
        life = Life(tmp_path / f"{dies_at}", mailbox, victim, dies_at)
        try:
            verify(life, mailbox)
            copies.append(len(mailbox.received))
            if not life.died:
                break
        finally:
            life.close()
    assert dies_at >= SERVICES[victim]
    if victim == "email-service":
        assert sorted(copies)[-2:] == [1, 2]  # handed over again where it died before it could record it


def test_a_mail_that_is_not_taken_now_keeps_no_place_and_is_tried_for_days(
    tmp_path: Path, mailbox: Mailbox
) -> None:
    mailbox.received.clear()
    life = Life(tmp_path / "life", mailbox, "default", None, told={"concurrency": 1})
    connections = mailbox.connections
    try:
        mailbox.fail_with(450, at="RCPT")
        verification_api.start(life.client, NOBODY, ADDRESS)
        life.until(partial(mailbox.heard_since, connections))
        verification_api.start(life.client, NOBODY, "b@example.org")
        life.until(lambda: mailbox.received)
        assert mailbox.received[0]["To"] == "b@example.org"
        mailbox.fail_with(421, times=30)
        for pause in (*SOON, HOUR, HOUR):
            life.until(lambda: life.sleeps(f"{RUN}:2"))
            connections = mailbox.connections
            life.later(pause)
            life.until(partial(mailbox.heard_since, connections))
        life.until(lambda: life.sleeps(f"{RUN}:2"))
        mailbox.drop_refusals()
        life.later(HOUR)
        life.until(lambda: len(mailbox.received) == 2)
        assert mailbox.received[1]["To"] == ADDRESS
    finally:
        mailbox.drop_refusals()
        life.close()


def verify(life: Life, mailbox: Mailbox) -> None:
    """Start it twice, wait for the mail, confirm, and see what came of it."""
    for _ in range(2):
        verification_api.start(life.client, NOBODY, ADDRESS)
    life.until(lambda: mailbox.received)
    assert promise_of(life.client, f"{RUN}:1.1").state == "pending"  # it is there before the mail
    life.until(lambda: promise_of(life.client, f"{RUN}:2").state == "resolved")
    verification_api.confirm(life.client, Actor(person=ADDRESS, via="test"), ADDRESS)
    life.until(lambda: promise_of(life.client, RUN).state != "pending")
    result = result_of(life.client, RUN)
    assert isinstance(result, dict)
    assert (result["email"], result["confirmed"], result["by"]) == (ADDRESS, True, ADDRESS)
    assert len({mail["Message-ID"] for mail in mailbox.received}) == 1
    assert len(search(life.client, tags={"hitl:key": verification_api.key_of(ADDRESS)})) == 1
