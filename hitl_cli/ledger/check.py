"""Finds changed and removed decisions: compares the history with its log, and the log with checkpoints."""

from __future__ import annotations

from itertools import batched
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from hitl_cli.client.protocol import get_promises, search
from hitl_cli.client.tags import VOTE_TAG
from hitl_cli.client.wire import audit_in, audit_of, headers_of
from hitl_cli.errors import WrongHistory
from hitl_cli.format.times import iso
from hitl_cli.ledger.checkpoints import stored
from hitl_cli.ledger.leaves import LeafKind, leaf_of, recorded_since
from hitl_cli.ledger.log import LATE_MS, Log, blocks_since, start_of
from hitl_cli.ledger.receipts import is_included, receipt_of
from hitl_cli.proof.checkpoint import signed_with
from hitl_cli.proof.tree import Frontier, consistency_path, is_consistent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Promise
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.ledger.leaves import Leaf
    from hitl_cli.ledger.log import Piece
    from hitl_cli.proof.checkpoint import Checkpoint

type Wrong = Literal["missing", "changed", "backdated"]

AT_ONCE = 500
"""Promises that are looked up with one call."""


class Finding(Struct, frozen=True, kw_only=True):
    """A decision or a vote that differs from a checkpoint.

    `missing`: it was removed. `changed`: it has other content. `backdated`: it is dated before a checkpoint
    that does not cover it. `at` is in ms since the epoch, `leaf` its index in the log.
    """

    kind: LeafKind
    id: str
    wrong: Wrong
    at: int
    leaf: int | None = None


class CheckedCheckpoint(Struct, frozen=True, kw_only=True):
    """A checkpoint; `key` signed it. `why` says what is wrong; None if the log still begins as signed."""

    size: int
    at: int
    root: str
    key: str | None = None
    why: str | None = None


class HistoryCheck:
    """A check of the history against checkpoints. `findings` is read first, the counts afterwards.

    `unchanged` are leaves that a checkpoint covers and that did not change, `pruned` leaves that a signed
    checkpoint announced as deleted, `later` decisions and votes after the latest checkpoint.
    """

    def __init__(
        self, client: Client, checkpoints: Sequence[Checkpoint], keys: Sequence[str], since: int | None = None
    ) -> None:
        """`keys` are the public keys of the settings. With `since`, older leaves are not compared."""
        self._client = client
        self._log = Log(client)
        self._since = since or 0
        self._signed = [one for one in checkpoints if signed_with(one, keys) is not None]
        self._keys = keys
        self._given = checkpoints
        self._name: str | None = None
        self._cutoff = 0
        self._size = 0
        self.checkpoints: tuple[CheckedCheckpoint, ...] = ()
        self.unchanged = self.pruned = self.later = self.wrong = 0

    def findings(self) -> Iterator[Finding]:
        """Check the checkpoints, and yield each decision and vote that differs from them."""
        self._client.fire_due()
        first = next(self._log.pieces(), None)
        self._name = None if first is None else first.log
        known = (*self._signed, *stored(self._client, self._keys, pruned=True))
        self._cutoff = max((one.pruned or 0 for one in known if one.log == self._name), default=0)
        self.checkpoints = tuple(map(self._checked, self._given, _roots(self._log, self._given, self._since)))
        self.wrong = sum(one.why is not None for one in self.checkpoints)
        good = [one for one in self.checkpoints if one.why is None]
        self._size = max((one.size for one in good), default=0)
        for finding in self._compared(max((one.at for one in good), default=0)):
            self.wrong += 1
            yield finding

    def _checked(self, checkpoint: Checkpoint, found: bytes | str) -> CheckedCheckpoint:
        key = signed_with(checkpoint, self._keys)
        why = None
        if key is None:
            why = "it is not signed with a checkpoint key of the settings"
        elif self._name is None:
            why = "this server does not have the log any more, or never had it"
        elif self._name != checkpoint.log:
            why = "it is of another database"
        elif isinstance(found, str):
            why = found
        elif found.hex() != checkpoint.root:
            why = "the log was changed since: " + self._where()
        return CheckedCheckpoint(
            size=checkpoint.size, at=checkpoint.at, root=checkpoint.root, key=key, why=why
        )

    def _where(self) -> str:
        """Narrow down where the log was changed, with the checkpoints on the server."""
        known = [one for one in stored(self._client, self._keys) if one.log == self._name]
        roots = _roots(self._log, known)
        fits = [
            isinstance(root, bytes) and root.hex() == one.root for one, root in zip(known, roots, strict=True)
        ]
        before = max((one.size for one, fit in zip(known, fits, strict=True) if fit), default=0)
        return f"the first {before:,} leaves are unchanged, and a later one is changed"

    def _compared(self, signed_at: int) -> Iterator[Finding]:
        """Yield the differences between the log and the server, newest first. Both are read once."""
        window: dict[tuple[str, int], tuple[int, Leaf]] = {}
        older = blocks_since(self._log, self._since)
        block = next(older, None)
        for leaf, promise in recorded_since(self._client, self._since):
            while block is not None and block[-1].until >= leaf.at:
                yield from self._unmatched([entry for entry in window.values() if entry[1].at > leaf.at])
                window = {key: entry for key, entry in window.items() if entry[1].at <= leaf.at}
                window |= {(one.id, one.at): (index, one) for index, one in _indexed(block, self._since)}
                block = next(older, None)
            index, logged = window.pop((leaf.id, leaf.at), (None, leaf))
            if logged != leaf:
                yield _finding(logged, "changed", index)
            elif index is not None and index < self._size:
                self.unchanged += 1
            elif _is_backdated(self._client, leaf, promise, signed_at, self._size):
                yield _finding(leaf, "backdated", index)
            else:
                self.later += 1
        yield from self._unmatched(window.values())
        while block is not None:
            yield from self._unmatched(_indexed(block, self._since))
            block = next(older, None)

    def _unmatched(self, entries: Iterable[tuple[int, Leaf]]) -> Iterator[Finding]:
        """Yield the finding for each leaf that is changed or missing on the server."""
        for some in batched(entries, AT_ONCE):
            maybe = [(index, leaf) for index, leaf in some if not is_pruned(leaf, self._cutoff)]
            self.pruned += len(some) - len(maybe)
            found = get_promises(self._client, [leaf.id for _, leaf in maybe])
            for index, leaf in maybe:
                promise = found.get(leaf.id)
                if promise is None:
                    yield _finding(leaf, "missing", index)
                elif leaf_of(promise) != leaf:
                    yield _finding(leaf, "changed", index)


def check_one(
    client: Client, item: RequestSummary, checkpoints: Sequence[Checkpoint], keys: Sequence[str]
) -> Finding | None:
    """Return how one decision differs from checkpoints; None if it does not."""
    leaf = leaf_of(item.promise)
    for checkpoint in checkpoints:
        if item.waits or signed_with(checkpoint, keys) is None:
            continue
        receipt = receipt_of(client, item, checkpoint)
        if receipt.leaf is not None and not is_included(receipt, checkpoint):
            return _finding(leaf, "changed", receipt.leaf)
        if receipt.leaf is None and _is_backdated(client, leaf, item.promise, checkpoint.at, checkpoint.size):
            return _finding(leaf, "backdated", None)
    return None


def is_pruned(leaf: Leaf, cutoff: int) -> bool:
    """Whether `hitl prune` may have deleted a leaf: requests without a run stay."""
    return leaf.run is not None and leaf.at < cutoff


def _finding(leaf: Leaf, wrong: Wrong, index: int | None) -> Finding:
    return Finding(kind=leaf.kind, id=leaf.id, wrong=wrong, at=leaf.at, leaf=index)


def _is_backdated(client: Client, leaf: Leaf, promise: Promise, signed_at: int, size: int) -> bool:
    """Whether something that no checkpoint covers is dated before one, by its time or its signed time.

    A counted vote may be dated so, if its own leaf is one of the first `size`.
    """
    limit = signed_at - LATE_MS
    if leaf.at < limit:
        return True
    audit = audit_of(promise) if leaf.kind == "decision" else audit_in(headers_of(promise.param))
    if not audit.votes:
        return audit.proof is not None and audit.proof.at < limit
    early = {vote.proof.decision for vote in audit.votes if vote.proof and vote.proof.at < limit}
    log = Log(client)
    for vote in search(client, tags={VOTE_TAG: leaf.id}) if early else ():
        index = log.index_of(leaf_of(vote))
        if index is not None and index < size:
            early.discard(audit_in(headers_of(vote.param)).id or "")
    return bool(early)


def _indexed(block: Sequence[Piece], since: int) -> Iterator[tuple[int, Leaf]]:
    """Yield the leaves of a block that are not older than an instant, with their indices."""
    for piece in block:
        yield from ((i, leaf) for i, leaf in enumerate(piece.leaves, piece.start) if leaf.at >= since)


def _roots(log: Log, checkpoints: Sequence[Checkpoint], since: int = 0) -> list[bytes | str]:
    """Return the root of the log at the size of each checkpoint; or a text that says why it has none.

    The leaves since `since` are hashed again. The nodes over the earlier ones are taken from the log:
    invented ones would not lead to a signed root.
    """
    sizes = {one.size for one in checkpoints}
    roots: dict[int, bytes] = {}
    frontier = Frontier(*start_of(log, since or None))
    for piece in log.pieces(frontier.size):
        for leaf in piece.leaves:
            frontier.append(leaf.hash)
            if frontier.size in sizes:
                roots[frontier.size] = frontier.root()
    return [
        roots[one.size] if one.size in roots else _earlier(log, one.size, frontier) for one in checkpoints
    ]


def _earlier(log: Log, size: int, frontier: Frontier) -> bytes | str:
    """Return the root of the log at a size before the leaves that were hashed, which continue it."""
    if size > frontier.size:
        return f"the log on the server has only {frontier.size:,} of its {size:,} leaves"
    try:
        root = log.subtree(0, size)
        path = consistency_path(size, frontier.size, log.subtree)
    except WrongHistory as error:
        return str(error)
    if not is_consistent(size, frontier.size, (root, frontier.root()), path):
        return "the log does not continue it"
    return root


def sentence(finding: Finding) -> str:
    """Return what is wrong with a decision or a vote."""
    match finding.wrong:
        case "missing":
            return f"the {finding.kind} of {iso(finding.at)} was removed"
        case "changed":
            return f"the {finding.kind} of {iso(finding.at)} was changed"
        case "backdated":
            return f"its date {iso(finding.at)} is before a checkpoint that does not include it"
