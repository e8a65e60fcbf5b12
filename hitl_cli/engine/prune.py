"""Removes runs that ended long ago, in small transactions, while other processes work.

A run is its root promise and its lineage: the promises that have its id before the ':', or as their origin.
It is removed as a whole, and only when no live task can still ask for any of it:

- its root and its promises settled before the cutoff. An internal promise that is still pending does not
  count: only its own task could settle it, and that has ended;
- no live task created it or a promise of it. A workflow replays what it created, so it would start a
  removed run again;
- no listener may still fetch the notice of its end (`UNFETCHED_MS`);
- the newest promise of the file is not in it: a promise's number must never be used again, because rows and
  other processes refer to promises by number.

Promises that its tasks created outside of the lineage stay, without an owner. Promises of no run stay: a
workflow may ask for them again. A huge run is removed in several transactions, its root last; if that is
interrupted, the next call continues.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from contextlib import closing
from itertools import batched
from typing import TYPE_CHECKING, Literal, get_args

from msgspec import Struct

from hitl_cli.engine.search import LINEAGE, ORIGIN
from hitl_cli.engine.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


UNFETCHED_MS = 30 * 86_400_000
"""How long after the end of a run its notices are kept for listeners. Dead listeners never fetch them."""

BATCH = 100
"""Promises that are removed in one transaction, so that others wait only briefly."""

LOOK = 200
"""Roots that one transaction reads."""

VACUUM_PAGES = 256
"""Pages that one transaction frees."""

PAUSE_S = 0.002
"""The shortest pause between two transactions; a longer transaction is followed by a pause as long."""

ROOTS = (
    "SELECT p.seq, p.id, p.state, p.created_at, p.settled_at, o.state"
    " FROM promises p LEFT JOIN promises o ON o.seq = p.owner"
    " WHERE p.root = 1 AND p.seq > ? ORDER BY p.seq LIMIT ?"
)
BELOW = (
    "SELECT p.seq, p.state, p.settled_at, p.external, o.state"
    f" FROM promises p LEFT JOIN promises o ON o.seq = p.owner WHERE p.seq IN ({LINEAGE}) AND p.seq <> ?"
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
"""Why a run is kept: a part of it has not ended, or ended after the cutoff; a live run created it; a
listener has not fetched the notice of its end; it has the newest promise of the file."""

type _Row = tuple[int, str, int | None, int, str | None]
"""The seq, state and settled_at of a promise, whether it is external, and the state of its creator."""

type Progress = Callable[[int], None]
"""Called with the number of runs that were removed so far."""


class Pruned(Struct, frozen=True, kw_only=True):
    """What was removed, or would be removed. Times are ms since the epoch."""

    runs: int
    promises: int
    kept: dict[Reason, int]
    """Runs that were created before the cutoff and are kept, by reason."""
    first_ended_at: int | None
    last_ended_at: int | None
    given_back: int = 0
    """Bytes by which the file shrank."""
    free: int = 0
    """Free bytes in the file, which will be used again."""
    in_file: bool = True
    """Whether the server is a file."""


class _Walk:
    """One pass over the runs that were created before a cutoff, the oldest first."""

    def __init__(self, store: Store, older_ms: int, clock: Callable[[], int]) -> None:
        """Read the references to settled promises once: none are added, and there is no index on them.

        Uses the system clock, not the file's time: if a clock was once far ahead by mistake, recent runs must
        not be removed.
        """
        self._store = store
        self._clock = clock
        self._now = clock()
        self._cutoff = self._now - older_ms
        self._messages: dict[int, list[str]] = defaultdict(list)
        self._callbacks: dict[int, list[int]] = defaultdict(list)
        with store.transaction(clock, write=False) as tx:
            self._newest: int = tx.rows(NEWEST)[0][0] or 0
            for promise, address in tx.rows(UNFETCHED):
                self._messages[promise].append(address)
            for awaiter, awaited in tx.rows(LEFT_BEHIND):
                self._callbacks[awaiter].append(awaited)
        self.runs = 0
        self._promises = 0
        self._kept: Counter[Reason] = Counter()
        self._ended: tuple[int, int] | tuple[None, None] = None, None

    def pages(self) -> Iterator[list[int]]:
        """Yield the promises of the runs to remove, a page at a time; between transactions."""
        after, looked = 0, LOOK
        while looked == LOOK:
            page: list[int] = []
            looked = 0
            with self._store.transaction(self._clock, write=False) as tx:
                for seq, id, state, created_at, settled_at, owner in tx.rows(ROOTS, after, LOOK):
                    if created_at > self._cutoff:
                        break
                    looked += 1
                    after = seq
                    below = tx.rows(BELOW, id, f"{id}:", f"{id};", ORIGIN, id, seq)
                    page += self._judge([*below, (seq, state, settled_at, 1, owner)])
            yield page

    def remove(self, seqs: Sequence[int]) -> None:
        """Remove promises that pages() found, and everything that refers to them, in one transaction."""
        with self._store.transaction(self._clock, write=True) as tx:
            for seq in seqs:
                for awaited in self._callbacks.get(seq, ()):
                    tx.change(REMOVE_CALLBACK, (awaited, seq))
                for address in self._messages.get(seq, ()):
                    tx.change(REMOVE_MESSAGE, (address, seq))
                for statement in REMOVE:
                    tx.change(statement, (seq,))

    def _judge(self, promises: Sequence[_Row]) -> list[int]:
        """Count a run. Return its promises, the root last, if it is to be removed; otherwise none."""
        seqs = [seq for seq, *_ in promises]
        ended_at = max(settled_at or 0 for _, _, settled_at, *_ in promises)
        reason = self._why_kept(promises, seqs, ended_at)
        if reason is not None:
            self._kept[reason] += 1
            return []
        self.runs += 1
        self._promises += len(seqs)
        ends = [ended_at, *(end for end in self._ended if end is not None)]
        self._ended = min(ends), max(ends)
        return seqs

    def _why_kept(self, promises: Sequence[_Row], seqs: Sequence[int], ended_at: int) -> Reason | None:
        if any(state == "pending" and external for _, state, _, external, _ in promises):
            return "live"
        if ended_at > self._cutoff:
            return "recent"
        if any(owner == "pending" for *_, owner in promises):
            return "needed"
        if ended_at > self._now - UNFETCHED_MS and any(seq in self._messages for seq in seqs):
            return "unfetched"
        return "newest" if self._newest in seqs else None

    def result(self, size_before: int | None = None) -> Pruned:
        """Return the counts. `size_before` is the size of the file in bytes before anything was removed."""
        size, free = self._store.space()
        return Pruned(
            runs=self.runs,
            promises=self._promises,
            kept=dict(self._kept),
            first_ended_at=self._ended[0],
            last_ended_at=self._ended[1],
            given_back=0 if size_before is None else size_before - size,
            free=free,
        )


def plan(path: Path, *, older_ms: int, clock: Callable[[], int]) -> Pruned:
    """Return what `prune` would remove, and remove nothing. Raises FileUnusable, StorageFailed."""
    with closing(Store(path)) as store:
        walk = _Walk(store, older_ms, clock)
        for _ in walk.pages():
            pass
        return walk.result()


def prune(path: Path, *, older_ms: int, clock: Callable[[], int], progress: Progress) -> Pruned:
    """Remove the runs that ended `older_ms` ago or earlier, and free their space.

    It may be interrupted at any moment. Raises FileUnusable, StorageFailed.
    """
    with closing(Store(path)) as store:
        walk = _Walk(store, older_ms, clock)
        size_before, _ = store.space()
        for page in walk.pages():
            for seqs in batched(page, BATCH):
                began = time.monotonic()
                walk.remove(seqs)
                pause(began)
            progress(walk.runs)
        _give_back(store)
        return walk.result(size_before)


def pause(began: float) -> None:
    """Pause for as long as the file was locked, so that other processes can use it."""
    time.sleep(max(time.monotonic() - began, PAUSE_S))


def _give_back(store: Store) -> None:
    """Shrink the file by its free pages, if its format allows that."""
    _, free = store.space()
    while free:
        began = time.monotonic()
        store.give_back(VACUUM_PAGES)
        pause(began)
        before, (_, free) = free, store.space()
        if free >= before:
            break  # created by an early version, or other processes free pages faster
    store.checkpoint()
