"""One request after another: which one is shown, and what was decided and is still held back.

Pure: no server, no screen, no clock. Instants are ms of whatever clock the caller has, as long as it only
goes forward.
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
"""How long a decision can be taken back before it is sent."""


class HeldDecision(Struct, frozen=True):
    """A decision that is sent at `until`, unless it is taken back."""

    id: str
    answer: DecisionInput
    until: int


class ReviewSummary(Struct, frozen=True):
    """How many requests were approved, rejected and skipped, remarks made, and requests left."""

    approved: int
    rejected: int
    commented: int
    skipped: int
    left: int


class ReviewQueue:
    """The requests in the order in which they came, and how each one stands.

    Of each request at most one decision is held or sent at a time. While any is open, one is `current`.
    """

    def __init__(self) -> None:
        self._standing: dict[str, Standing] = {}
        self._held: list[HeldDecision] = []
        self._counts: Counter[str] = Counter()
        self.current: str | None = None
        """The request that is shown."""

    @property
    def held(self) -> tuple[HeldDecision, ...]:
        """What is held back, in the order in which it was decided."""
        return tuple(self._held)

    @property
    def position(self) -> tuple[int, int]:
        """Which of how many the current request is, those that were decided here among them."""
        ids = [id for id, standing in self._standing.items() if standing != "gone"]
        return (ids.index(self.current) + 1 if self.current is not None else 0), len(ids)

    @property
    def summary(self) -> ReviewSummary:
        """What came of it so far."""
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
        """How many were skipped or answered here, and may still wait: a list must reach beyond them."""
        return sum(standing not in ("open", "gone") for standing in self._standing.values())

    def is_open(self, id: str) -> bool:
        """Whether a request can still be decided here."""
        return self._standing.get(id) in ("open", "skipped")

    def listed(self, ids: Collection[str], *, complete: bool) -> None:
        """Take in what waits now: what is new stands at the end.

        Where the list is `complete`, what is not on it waits no more. What became of the current request is
        for `gone` to say.
        """
        for id in ids:
            self._standing.setdefault(id, "open")
        if complete:
            there = {*ids, self.current}
            for id in [id for id in self._standing if self.is_open(id) and id not in there]:
                del self._standing[id]
        self._settle_on()

    def skip(self) -> None:
        """Leave the current request for later."""
        if self.current is not None:
            self._leave(self.current, "skipped")

    def again(self) -> None:
        """Take up what was skipped."""
        for id, standing in self._standing.items():
            if standing == "skipped":
                self._standing[id] = "open"
        self._settle_on()

    def hold(self, id: str, answer: DecisionInput, now: int) -> bool:
        """Hold a decision back until HOLD_MS from now; False if the request can no longer be decided here."""
        if not self.is_open(id):
            return False
        self._held.append(HeldDecision(id, answer, now + HOLD_MS))
        self._leave(id, "held")
        return True

    def undo(self) -> HeldDecision | None:
        """Take back what was decided last, if it is still held, and show its request again."""
        if not self._held:
            return None
        last = self._held.pop()
        self._standing[last.id] = "open"
        self.current = last.id
        return last

    def due(self, now: int) -> HeldDecision | None:
        """Return the next decision that is to be sent now, which from here on cannot be taken back."""
        if not self._held or self._held[0].until > now:
            return None
        return self._send_first()

    def flush(self) -> HeldDecision | None:
        """Return the next decision that is held, whatever the time, to be sent."""
        return self._send_first() if self._held else None

    def drop(self) -> tuple[HeldDecision, ...]:
        """Take back all that is held, and return it."""
        dropped = self.held
        while self.undo() is not None:
            pass
        return dropped

    def decided(self, id: str, verdict: str) -> None:
        """Count a decision that was sent and recorded."""
        self._standing[id] = "done"
        self._counts[verdict] += 1

    def refused(self, id: str) -> None:
        """Open a request again: the decision that was sent was not taken."""
        self._standing[id] = "open"
        self._settle_on()

    def gone(self, id: str) -> None:
        """Leave out a request that somebody else decided, or that is not for this person."""
        self._held = [held for held in self._held if held.id != id]
        self._leave(id, "gone")

    def commented(self) -> None:
        """Count a remark."""
        self._counts["comment"] += 1

    def _send_first(self) -> HeldDecision:
        first = self._held.pop(0)
        self._standing[first.id] = "sending"
        return first

    def _leave(self, id: str, standing: Standing) -> None:
        """Give a request another standing, and go on to the next one that is open if it was shown."""
        self._standing[id] = standing
        if self.current == id:
            ids = list(self._standing)
            after = ids.index(id) + 1
            self.current = None
            self._settle_on([*ids[after:], *ids[:after]])

    def _settle_on(self, ids: Collection[str] | None = None) -> None:
        """Show the first request that is open, if none is shown."""
        if self.current is None:
            order = self._standing if ids is None else ids
            self.current = next((id for id in order if self._standing[id] == "open"), None)
