"""The queue of `hitl review`: the current request, and decisions that are held before they are sent.

It is pure: no server, screen or clock. Instants are ms of any clock of the caller that only goes forward.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from hitl_cli.requests.decision_input import DecisionInput

if TYPE_CHECKING:
    from collections.abc import Collection


type Standing = Literal["open", "skipped", "held", "sending", "done", "gone"]

HOLD_MS = 5_000
"""How long a decision can be undone before it is sent."""


class HeldDecision(Struct, frozen=True):
    """A decision that is sent at `until`, unless it is undone."""

    id: str
    answer: DecisionInput
    until: int


class ReviewSummary(Struct, frozen=True):
    """The numbers of requests approved, rejected and skipped, of comments, and of requests left."""

    approved: int
    rejected: int
    commented: int
    skipped: int
    left: int


class ReviewQueue:
    """The requests in the order in which they arrived, and the state of each.

    A request has at most one decision that is held or being sent. While any request is open, one is
    `current`.
    """

    def __init__(self) -> None:
        self._standing: dict[str, Standing] = {}
        self._held: list[HeldDecision] = []
        self._counts: Counter[str] = Counter()
        self.current: str | None = None
        """The current request."""

    @property
    def held(self) -> tuple[HeldDecision, ...]:
        """The held decisions, in the order in which they were made."""
        return tuple(self._held)

    @property
    def position(self) -> tuple[int, int]:
        """The current request's number, and the total including requests decided here."""
        ids = [id for id, standing in self._standing.items() if standing != "gone"]
        return (ids.index(self.current) + 1 if self.current is not None else 0), len(ids)

    @property
    def summary(self) -> ReviewSummary:
        """The results so far."""
        standing = Counter(self._standing.values())
        return ReviewSummary(
            approved=self._counts["approve"],
            rejected=self._counts["reject"],
            commented=self._counts["comment"],
            skipped=standing["skipped"],
            left=standing["open"] + standing["held"] + standing["sending"],
        )

    @property
    def passed(self) -> int:
        """The number of requests skipped or decided here that may still be open, and so in a list."""
        return sum(standing not in ("open", "gone") for standing in self._standing.values())

    def is_open(self, id: str) -> bool:
        """Whether a request can still be decided here."""
        return self._standing.get(id) in ("open", "skipped")

    def listed(self, ids: Collection[str], *, complete: bool) -> None:
        """Update the queue with the open requests. New ones are added at the end.

        If the list is `complete`, requests that are not on it are removed, except the current one: see
        `gone`.
        """
        for id in ids:
            self._standing.setdefault(id, "open")
        if complete:
            there = {*ids, self.current}
            for id in [id for id in self._standing if self.is_open(id) and id not in there]:
                del self._standing[id]
        self._settle_on()

    def skip(self) -> None:
        """Skip the current request."""
        if self.current is not None:
            self._leave(self.current, "skipped")

    def again(self) -> None:
        """Open the skipped requests again."""
        for id, standing in self._standing.items():
            if standing == "skipped":
                self._standing[id] = "open"
        self._settle_on()

    def hold(self, id: str, answer: DecisionInput, now: int) -> bool:
        """Hold a decision for HOLD_MS; returns False if the request can no longer be decided here."""
        if not self.is_open(id):
            return False
        self._held.append(HeldDecision(id, answer, now + HOLD_MS))
        self._leave(id, "held")
        return True

    def undo(self) -> HeldDecision | None:
        """Undo the last decision, if it is still held, and make its request the current one."""
        if not self._held:
            return None
        last = self._held.pop()
        self._standing[last.id] = "open"
        self.current = last.id
        return last

    def due(self, now: int) -> HeldDecision | None:
        """Return the next decision that is due to be sent. It can no longer be undone."""
        if not self._held or self._held[0].until > now:
            return None
        return self._send_first()

    def flush(self) -> HeldDecision | None:
        """Return the next held decision to send, even if it is not due."""
        return self._send_first() if self._held else None

    def drop(self) -> tuple[HeldDecision, ...]:
        """Undo all held decisions, and return them."""
        dropped = self.held
        while self.undo() is not None:
            pass
        return dropped

    def decided(self, id: str, verdict: str) -> None:
        """Count a decision that was sent and recorded."""
        self._standing[id] = "done"
        self._counts[verdict] += 1

    def refused(self, id: str) -> None:
        """Open a request again, because its decision was not accepted."""
        self._standing[id] = "open"
        self._settle_on()

    def gone(self, id: str) -> None:
        """Remove a request that someone else decided, or that this person may not answer."""
        self._held = [held for held in self._held if held.id != id]
        self._leave(id, "gone")

    def commented(self) -> None:
        """Count a comment."""
        self._counts["comment"] += 1

    def _send_first(self) -> HeldDecision:
        first = self._held.pop(0)
        self._standing[first.id] = "sending"
        return first

    def _leave(self, id: str, standing: Standing) -> None:
        """Change the state of a request, and go to the next open one if it was the current one."""
        self._standing[id] = standing
        if self.current == id:
            ids = list(self._standing)
            after = ids.index(id) + 1
            self.current = None
            self._settle_on([*ids[after:], *ids[:after]])

    def _settle_on(self, ids: Collection[str] | None = None) -> None:
        """Make the first open request the current one, if there is none."""
        if self.current is None:
            order = self._standing if ids is None else ids
            self.current = next((id for id in order if self._standing[id] == "open"), None)
