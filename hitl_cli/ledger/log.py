"""The log: the order of the leaves of a server's history, kept on that server as promises.

Clocks differ, transactions commit out of order, and `hitl prune` deletes, so the decisions themselves have no
lasting order. The log does: each checkpoint appends new leaves. A piece of it is a promise whose id has its
first leaf's index. A promise is created once, so of several processes that append, one wins, and the others
read what it wrote. A person who can write the database can also rewrite the log, but then it no longer
matches a checkpoint.

No piece crosses a multiple of `BLOCK`, so the piece at each multiple exists as soon as the log is longer. It
has the nodes over the blocks that end there, so that a path through a long log needs only a few pieces.
"""

from __future__ import annotations

from itertools import batched, count, takewhile
from typing import TYPE_CHECKING

from msgspec import Struct

from hitl_cli.client.protocol import get_promises
from hitl_cli.client.records import alone, store
from hitl_cli.client.tags import LOG_PREFIX, LOG_TAG
from hitl_cli.client.wire import decode_as, fresh_id
from hitl_cli.errors import Conflict, WrongHistory
from hitl_cli.ledger.leaves import Leaf
from hitl_cli.proof.tree import Frontier, node_hash, root_of, split

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hitl_cli.client.protocol import Client

BLOCK = 4_096
"""Most leaves of one piece: half a megabyte of the four that a promise may have."""

PIECE_CHARS = 256 * 1024
"""About how many characters of ids one piece has: they may be long, of up to 4 bytes, and escaped."""

LEVEL = BLOCK.bit_length() - 1
"""The height of the tree over a block."""

AT_ONCE = 4
"""Pieces that are read with one call."""

LATE_MS = 600_000
"""How long after its instant a decision may be found: clocks differ, transactions take time, and a person
takes time to sign. The next checkpoint reads that far back; a new leaf that is older counts as backdated."""

LIFE_MS = 365 * 86_400_000
"""A promise needs a deadline; a piece is closed at once."""


class Piece(Struct, frozen=True, kw_only=True):
    """A part of the log.

    `log` is the random name of the whole log. `since` and `until` are the latest instants of a leaf before it
    and up to its end, `at` is when it was appended. `peaks` are the frontier before it, `nodes` those that
    the leaf before it completed, of whole blocks, the smallest first.
    """

    log: str
    start: int
    since: int
    until: int
    at: int
    leaves: tuple[Leaf, ...]
    peaks: tuple[bytes, ...] = ()
    nodes: tuple[bytes, ...] = ()

    @property
    def end(self) -> int:
        """The index of the leaf after it."""
        return self.start + len(self.leaves)


class Raced(Conflict):
    """Another process has appended to the log first."""


class Log:
    """The log of a server."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._kept: dict[int, Piece | None] = {}
        """The pieces that were read, which never change; None for missing ones."""

    # Reading

    def pieces(self, start: int = 0) -> Iterator[Piece]:
        """Yield the pieces, from one that begins at an index, in order."""
        for some in batched(count(start - start % BLOCK, BLOCK), AT_ONCE):
            self._read(some)
            for first in some:
                piece = self._piece(first)
                if piece is None:
                    return
                yield from (one for one in self._chain(piece) if one.start >= start)
            self._forget(some)

    def blocks_back(self) -> Iterator[list[Piece]]:
        """Yield the pieces of each block, the last block first."""
        last = self.last()
        if last is None:
            return
        for first in range(last.start - last.start % BLOCK, -1, -BLOCK):
            yield self.block(first)
            self._forget([first])

    def block(self, start: int) -> list[Piece]:
        """Return the pieces of the block that begins at an index."""
        piece = self._piece(start)
        return [] if piece is None else list(self._chain(piece))

    def last(self) -> Piece | None:
        """Return the last piece; None if there is no log."""
        if self._piece(0) is None:
            return None
        low, high = 0, 1
        while self._piece(high * BLOCK) is not None:
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            if self._piece(middle * BLOCK) is None:
                high = middle
            else:
                low = middle
        return self.block(low * BLOCK)[-1]

    def frontier(self) -> Frontier:
        """Return the frontier of the whole log."""
        last = self.last()
        return Frontier() if last is None else after(last)

    def index_of(self, leaf: Leaf) -> int | None:
        """Return the index of a leaf with this id and instant; None if the log has none."""
        last = self.last()
        low, high = 0, 0 if last is None else last.start // BLOCK
        while low < high:
            middle = (low + high + 1) // 2
            piece = self._piece(middle * BLOCK)
            if piece is not None and piece.since < leaf.at:
                low = middle
            else:
                high = middle - 1
        near = takewhile(lambda piece: piece.since <= leaf.at + LATE_MS, self.pieces(low * BLOCK))
        index = _index_in(near, leaf)
        if index is None and last is not None and leaf.at < last.at:
            index = _index_in(self.pieces(), leaf)  # it is backdated, or a clock was once far ahead
        return index

    def subtree(self, low: int, high: int) -> bytes:
        """Return the hash over the leaves from one index up to, and without, another one. See tree.Subtree.

        Raises WrongHistory if the log is shorter.
        """
        size = high - low
        if low // BLOCK == (high - 1) // BLOCK:
            first = low - low % BLOCK
            leaves = [leaf.hash for piece in self.block(first) for leaf in piece.leaves]
            if len(leaves) < high - first:
                raise WrongHistory(f"the log has fewer than {high:,} leaves.")
            return root_of(leaves[low - first : high - first])
        if size & (size - 1) == 0 and (piece := self._piece(high)) is not None:
            level = size.bit_length() - 1 - LEVEL
            if len(piece.nodes) <= level:
                raise WrongHistory(f"the piece of the log at {high:,} is not valid.")
            return piece.nodes[level]
        middle = low + split(size)
        return node_hash(self.subtree(low, middle), self.subtree(middle, high))

    def _chain(self, piece: Piece) -> Iterator[Piece]:
        """Yield a piece, and those that follow it in its block."""
        block = piece.start // BLOCK
        following: Piece | None = piece
        while following is not None:
            yield following
            following = self._piece(following.end) if following.end // BLOCK == block else None

    def _piece(self, start: int) -> Piece | None:
        if start not in self._kept:
            self._read([start])
        return self._kept[start]

    def _read(self, starts: Sequence[int]) -> None:
        """Read the pieces that begin at some indices. Raises WrongHistory if one is missing or invalid."""
        missing = [start for start in starts if self._kept.get(start) is None]
        found = get_promises(self._client, list(map(_id, missing)))
        for start in missing:
            promise = found.get(_id(start))
            piece = None if promise is None else decode_as(promise.param, Piece)
            if promise is not None and (piece is None or piece.start != start or not piece.leaves):
                raise WrongHistory(f"{promise.id} is not a valid piece of the log.")
            self._kept[start] = piece

    def _forget(self, starts: Iterable[int]) -> None:
        """Forget the pieces of some blocks, for a long log."""
        blocks = {start // BLOCK for start in starts}
        self._kept = {start: piece for start, piece in self._kept.items() if start // BLOCK not in blocks}

    # Writing

    def append(self, leaves: Iterable[Leaf]) -> Frontier:
        """Append leaves, and return the frontier of the whole log. Raises Raced.

        It may be interrupted at any moment; the leaves appended so far stay.
        """
        last = self.last()
        name = fresh_id() if last is None else last.log
        frontier = Frontier() if last is None else after(last)
        until = 0 if last is None else last.until
        nodes: list[bytes] = [] if last is None else _completed(self, last)
        waiting: list[Leaf] = []
        peaks = tuple(frontier.peaks)

        def write() -> None:
            nonlocal until, peaks
            since, until = until, max(until, *(leaf.at for leaf in waiting))
            self._write(
                Piece(
                    log=name,
                    start=frontier.size - len(waiting),
                    since=since,
                    until=until,
                    at=self._client.now(),
                    leaves=tuple(waiting),
                    peaks=peaks,
                    nodes=tuple(nodes),
                )
            )
            waiting.clear()
            peaks = tuple(frontier.peaks)

        room = PIECE_CHARS
        for leaf in leaves:
            completed = frontier.append(leaf.hash)
            waiting.append(leaf)
            room -= len(leaf.id) + len(leaf.run or "")
            if frontier.size % BLOCK == 0 or room < 0:
                write()
                nodes, room = completed[LEVEL:], PIECE_CHARS
        if waiting:
            write()
        return frontier

    def _write(self, piece: Piece) -> None:
        """Store a piece. Raises Raced if another process has stored one there."""
        until = self._client.now() + LIFE_MS
        create = alone(_id(piece.start), piece, None, until=until, tags={LOG_TAG: "piece"})
        kept = store(self._client, create)
        if decode_as(kept.param, Piece) != piece:
            raise Raced("another process is making a checkpoint: try again.")
        self._kept.pop(piece.start, None)


def unseen_since(last: Piece | None, now: int) -> int:
    """Return the instant from which on decisions may be missing in a log that ends with a piece."""
    seen = 0 if last is None else min(last.until, last.at) - LATE_MS
    return max(seen, 0) if seen < now else 0  # a clock was ahead: read everything


def _index_in(pieces: Iterable[Piece], leaf: Leaf) -> int | None:
    for piece in pieces:
        for index, other in enumerate(piece.leaves, piece.start):
            if (other.id, other.at) == (leaf.id, leaf.at):
                return index
    return None


def after(piece: Piece) -> Frontier:
    """Return the frontier after a piece."""
    frontier = Frontier(piece.start, piece.peaks)
    for leaf in piece.leaves:
        frontier.append(leaf.hash)
    return frontier


def blocks_since(log: Log, since: int) -> Iterator[list[Piece]]:
    """Yield the blocks of a log with leaves that may be from `since` or later, the last block first."""
    return takewhile(lambda block: block[-1].until >= since, log.blocks_back())


def start_of(log: Log, since: int | None) -> tuple[int, tuple[bytes, ...]]:
    """Return the index of the first leaf that may be from `since` or later, and the frontier before it."""
    start: tuple[int, tuple[bytes, ...]] = 0, ()
    for block in () if since is None else blocks_since(log, since):
        start = block[0].start, block[0].peaks
    if start == (0, ()) and since is not None and (last := log.last()) is not None and last.until < since:
        start = last.start, last.peaks
    return start


def _completed(log: Log, last: Piece) -> list[bytes]:
    """Return the nodes that the piece after the last one has."""
    end, nodes = last.end, []
    size = BLOCK
    while end % size == 0:
        nodes.append(log.subtree(end - size, end))
        size *= 2
        if size > end:
            break
    return nodes


def _id(start: int) -> str:
    return f"{LOG_PREFIX}{start}"
