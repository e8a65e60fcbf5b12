"""Removing runs that ended long ago, in small transactions, while others work.

A run is its root promise and all its lineage: what bears its id before the ':'. It goes as a whole, and
only when nothing that lives can still ask for any of it:

- its root and every promise of it settled before the cutoff. An internal promise that is still pending
  goes all the same: only its own task could settle it, and that has ended;
- no task that still lives created it, nor any promise of it. A workflow that runs on replays what it
  created, and would start a run that is gone once more;
- nobody waits for word of its end who may still come for it (`UNFETCHED_MS`);
- the newest promise of all is not in it: the number of a promise must never be given out twice, because
  rows and other processes refer to promises by number.

A promise outside of the lineage that a task of it created stays, and belongs to nobody then. Promises
that are part of no run stay: nobody can tell whether a workflow will ask for them again.

A huge run is removed in several transactions, its root last; if that is interrupted, the next call goes on.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from contextlib import closing
from typing import TYPE_CHECKING, Literal, get_args

from msgspec import Struct

from hitl_cli.engine.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from hitl_cli.engine.store import Transaction

UNFETCHED_MS = 30 * 86_400_000
"""How long after a run has ended a message about it is kept for a listener that does not fetch it.
The address of a process that died is never listened to again."""

BATCH = 100
"""Promises that are removed in one transaction, so that nobody waits for long."""

LOOK = 200
"""Roots looked at in one read."""

VACUUM_PAGES = 256
"""Pages given back in one transaction."""

PAUSE_S = 0.002
"""The least pause between two transactions; it is as long as the transaction took, if that is longer."""

ROOTS = (
    "SELECT p.seq, p.id, p.state, p.created_at, p.settled_at, o.state"
    " FROM promises p LEFT JOIN promises o ON o.seq = p.owner"
    " WHERE p.root = 1 AND p.seq > ? ORDER BY p.seq LIMIT ?"
)
BELOW = (
    "SELECT p.seq, p.state, p.settled_at, p.external, o.state"
    " FROM promises p LEFT JOIN promises o ON o.seq = p.owner WHERE p.id > ? AND p.id < ?"
)
NEWEST = "SELECT max(seq) FROM promises"
LEFT_BEHIND = (
    "SELECT c.awaiter, c.awaited FROM callbacks c JOIN promises p ON p.seq = c.awaiter"
    " WHERE p.state <> 'pending'"
)
UNFETCHED = "SELECT promise, address FROM unblocks"

REMOVE_TAGS = (
    "DELETE FROM tags WHERE (key, value, promise) IN"
    " (SELECT e.key, e.value, p.seq FROM promises p, json_each(p.tags) e WHERE p.seq = ?)"
)
REMOVE = (
    REMOVE_TAGS,
    "DELETE FROM tasks WHERE seq = ?",
    "DELETE FROM callbacks WHERE awaited = ?",
    "DELETE FROM listeners WHERE promise = ?",
    "DELETE FROM promises WHERE seq = ?",
    "UPDATE promises SET owner = NULL WHERE owner = ?",
)
REMOVE_CALLBACK = "DELETE FROM callbacks WHERE awaited = ? AND awaiter = ?"
REMOVE_MESSAGE = "DELETE FROM unblocks WHERE address = ? AND promise = ?"

type Reason = Literal["live", "recent", "needed", "unfetched", "newest"]

REASONS: tuple[Reason, ...] = get_args(Reason.__value__)
"""Why a run stays: it or a part of it has not ended, or ended after the cutoff; a run that lives created
it; somebody has not fetched word of its end; the newest promise of all is in it."""

type Progress = Callable[[int], None]
"""Is told how many runs have been removed so far."""


class Pruned(Struct, frozen=True, kw_only=True):
    """What was removed, or would be. Instants are ms since the epoch."""

    runs: int
    promises: int
    kept: dict[Reason, int]
    """Runs that were created before the cutoff and stay, and why."""
    first_ended_at: int | None
    last_ended_at: int | None
    given_back: int = 0
    """Bytes by which the file became smaller."""
    free: int = 0
    """Bytes in the file that hold nothing, and will be used again."""


class _Lineage(Struct, frozen=True):
    """A run that can go: the seqs of its promises, the root's last."""

    seqs: list[int]
    ended_at: int


class _Obligations:
    """What still refers to settled promises. Nothing is added to that once a promise has settled.

    It is read once, because the tables have no index that way round.
    """

    def __init__(self, tx: Transaction) -> None:
        """Read it."""
        self.newest: int = tx.rows(NEWEST)[0][0] or 0
        self.messages: dict[int, list[str]] = defaultdict(list)
        self.callbacks: dict[int, list[int]] = defaultdict(list)
        for promise, address in tx.rows(UNFETCHED):
            self.messages[promise].append(address)
        for awaiter, awaited in tx.rows(LEFT_BEHIND):
            self.callbacks[awaiter].append(awaited)


class _Walk:
    """One look at all runs that were created before a cutoff, the oldest first."""

    def __init__(self, store: Store, older_ms: int, clock: Callable[[], int]) -> None:
        """Look at what still refers to promises.

        The present is the clock's, not the file's: a clock that once ran far ahead must not cost what
        ended yesterday.
        """
        self._store = store
        self._clock = clock
        self._now = clock()
        self._cutoff = self._now - older_ms
        with store.transaction(clock, write=False) as tx:
            self._obligations = _Obligations(tx)
        self.kept: Counter[Reason] = Counter()
        self.runs = 0
        self.promises = 0
        self._ended: tuple[int, int] | None = None

    def pages(self) -> Iterator[list[_Lineage]]:
        """Yield the runs that can go, a page at a time, between transactions."""
        after: int | None = 0
        while after is not None:
            with self._store.transaction(self._clock, write=False) as tx:
                page, after = self._page(tx, after)
            yield page

    def _page(self, tx: Transaction, after: int) -> tuple[list[_Lineage], int | None]:
        """Return the runs that can go among the next ones, and where to go on, or None."""
        page: list[_Lineage] = []
        roots = tx.rows(ROOTS, after, LOOK)
        for seq, id, state, created_at, settled_at, owner in roots:
            if created_at > self._cutoff:
                return page, None
            below = tx.rows(BELOW, f"{id}:", f"{id};")
            found = self._judge([*below, (seq, state, settled_at, 1, owner)])
            if isinstance(found, _Lineage):
                page.append(found)
            else:
                self.kept[found] += 1
        return page, roots[-1][0] if len(roots) == LOOK else None

    def remove(self, seqs: Sequence[int]) -> None:
        """Remove promises, and all that refers to them, in one transaction.

        What pages() found needs no second look: a settled promise stays as it is.
        """
        obligations = self._obligations
        with self._store.transaction(self._clock, write=True) as tx:
            for seq in seqs:
                for awaited in obligations.callbacks.get(seq, ()):
                    tx.change(REMOVE_CALLBACK, awaited, seq)
                for address in obligations.messages.get(seq, ()):
                    tx.change(REMOVE_MESSAGE, address, seq)
                for statement in REMOVE:
                    tx.change(statement, seq)

    def count(self, lineage: _Lineage) -> None:
        """Count a run that goes."""
        self.runs += 1
        self.promises += len(lineage.seqs)
        first, last = self._ended or (lineage.ended_at, lineage.ended_at)
        self._ended = min(first, lineage.ended_at), max(last, lineage.ended_at)

    def result(self, given_back: int = 0) -> Pruned:
        """Return what came of it."""
        first, last = self._ended or (None, None)
        return Pruned(
            runs=self.runs,
            promises=self.promises,
            kept=dict(self.kept),
            first_ended_at=first,
            last_ended_at=last,
            given_back=given_back,
            free=self._store.space()[1],
        )

    def _judge(self, promises: Sequence[tuple[int, str, int | None, int, str | None]]) -> _Lineage | Reason:
        """Return the run, if it can go, else why it stays."""
        seqs = [seq for seq, *_ in promises]
        ended_at = max(settled_at or 0 for _, _, settled_at, *_ in promises)
        if any(state == "pending" and external for _, state, _, external, _ in promises):
            return "live"
        if ended_at > self._cutoff:
            return "recent"
        if any(owner == "pending" for *_, owner in promises):
            return "needed"
        if ended_at > self._now - UNFETCHED_MS and any(seq in self._obligations.messages for seq in seqs):
            return "unfetched"
        if self._obligations.newest in seqs:
            return "newest"
        return _Lineage(seqs, ended_at)


def plan(path: Path, *, older_ms: int, clock: Callable[[], int]) -> Pruned:
    """Return what `prune` would remove, and remove nothing. Raises FileUnusable, StorageFailed."""
    with closing(Store(path)) as store:
        walk = _Walk(store, older_ms, clock)
        for page in walk.pages():
            for lineage in page:
                walk.count(lineage)
        return walk.result()


def prune(path: Path, *, older_ms: int, clock: Callable[[], int], progress: Progress) -> Pruned:
    """Remove the runs that ended `older_ms` ago or earlier, and give their space back.

    Interrupted at any moment, it has removed some of them and done no harm. Raises FileUnusable,
    StorageFailed.
    """
    with closing(Store(path)) as store:
        walk = _Walk(store, older_ms, clock)
        size_before, _ = store.space()
        for page in walk.pages():
            for seqs in _batches(page):
                began = time.monotonic()
                walk.remove(seqs)
                pause(began)
            for lineage in page:
                walk.count(lineage)
            progress(walk.runs)
        _give_back(store)
        return walk.result(given_back=size_before - store.space()[0])


def _batches(page: Sequence[_Lineage]) -> Iterator[list[int]]:
    """Yield the promises of the runs in parts of `BATCH`, each run's root after all else of it."""
    batch: list[int] = []
    for lineage in page:
        for seq in lineage.seqs:
            batch.append(seq)
            if len(batch) == BATCH:
                yield batch
                batch = []
    if batch:
        yield batch


def pause(began: float) -> None:
    """Leave the file to others for as long as it was just held."""
    time.sleep(max(time.monotonic() - began, PAUSE_S))


def _give_back(store: Store) -> None:
    """Make the file smaller by what is free in it, if it was created so that it can."""
    _, free = store.space()
    while free:
        began = time.monotonic()
        store.give_back(VACUUM_PAGES)
        pause(began)
        before, (_, free) = free, store.space()
        if free >= before:
            break  # created by an early version, or others free more than this gives back
    store.checkpoint()
