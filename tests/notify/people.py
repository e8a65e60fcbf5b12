"""Workers that notify people, with a clock that the test moves; the messages, and their status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hitl_cli.client.protocol import get_promise
from hitl_cli.people.contacts import Contact, Directory, GroupContact, NotificationSettings
from hitl_cli.views.details import notified
from tests.acting import details
from tests.conftest import wait_until
from tests.recovery.crew import Crew
from tests.worker.watching import idle, promise_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hitl_cli.notify.status import NotificationStatus
    from tests.conftest import Hitl
    from tests.notify.receivers import HttpReceiver, Posted

GATEWAY = "http://hitl.example.org"
LOOKS_S = 0.2


class Town:
    """Workers and those they tell: each person has a webhook of the one receiver, under their own path."""

    def __init__(self, hitl: Hitl, receiver: HttpReceiver) -> None:
        self.receiver = receiver
        self.base = receiver.url.removesuffix("/hook")
        self._keys = hitl.database.with_suffix(".keys")
        self.crew = Crew(hitl, count_every_s=LOOKS_S)
        self.settle_in(reviewer=self.at("reviewer"), lead=self.at("lead"))

    def at(self, name: str, **more: Any) -> Contact:
        """Return a contact that is reached by webhook."""
        return Contact(webhook=f"{self.base}/{name}", **more)

    def settle_in(
        self,
        groups: Mapping[str, GroupContact] | None = None,
        anybody: tuple[str, ...] = (),
        **people: Contact,
    ) -> None:
        """Have workers that are started from now on know these people."""
        directory = Directory(people=people, groups=groups or {}, anybody=anybody, gateway=GATEWAY)
        self.crew.told["reach"] = NotificationSettings(directory=directory, keys=self._keys)

    def worker(self) -> None:
        """Start a worker."""
        self.crew.worker()

    def ask(self, id: str = "r", **options: Any) -> str:
        """Start a run that asks, and return the request's id once it does."""
        self.crew.begin(id, "asks", {"prompt": "Deploy 1.4.2?", **options})
        request = f"{id}:1.1"
        wait_until(lambda: get_promise(self.crew.client, request))
        return request

    def sent(self, count: int) -> list[tuple[str, str, str]]:
        """Wait for this number of messages, and return them in order: person, event and request.

        Looking meanwhile fires what is due by a clock that was moved.
        """
        wait_until(lambda: self.crew.pending() is not None and len(self.receiver.received) >= count)
        found = [told_in(one) for one in self.receiver.received]
        assert len(found) == count, found
        return found

    def sent_to(self, who: str) -> list[tuple[str, str]]:
        """Return the messages of one person so far."""
        every = map(told_in, list(self.receiver.received))
        return [(occasion, request) for name, occasion, request in every if name == who]

    def told(self, id: str, count: int = 1) -> list[NotificationStatus]:
        """Wait until so many have been told of a request, or given up, and return how.

        Looking meanwhile fires what is due by a clock that was moved.
        """

        def done() -> list[NotificationStatus]:
            found = self.told_so_far(id)
            over = [one for one in found if one.given_up or (one.last and one.last.outcome == "sent")]
            return found if len(over) >= count else []

        return wait_until(done)

    def told_so_far(self, id: str) -> list[NotificationStatus]:
        """Return who has been told of a request so far, and who is to be."""
        self.crew.pending()
        return list(notified(details(self.crew.client, promise_of(self.crew.client, id))))

    def idle(self) -> None:
        """Wait until all workers are idle and all notifications are sent."""
        wait_until(lambda: self.crew.pending() is not None and idle(self.crew.client))

    def close(self) -> None:
        """End all."""
        self.crew.close()


def told_in(posted: Posted) -> tuple[str, str, str]:
    """Return the messages so far: person, event and request."""
    said = posted.json
    requests = " ".join(one["id"] for one in said["data"]["requests"])
    return posted.path.removeprefix("/"), said["type"].removeprefix("hitl."), requests
