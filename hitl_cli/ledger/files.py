"""Verifies files without a server: an export of the history, and a receipt."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import msgspec

from hitl_cli.client.tags import VOTE_TAG
from hitl_cli.errors import BadInput
from hitl_cli.format.validation import in_document
from hitl_cli.inbox.proof import Verified, verified
from hitl_cli.inspected import inspected
from hitl_cli.ledger.check import CheckedCheckpoint, Finding, is_pruned
from hitl_cli.ledger.export import (
    ExportedCheckpoint,
    ExportedEntry,
    ExportedLeaf,
    ExportEnd,
    ExportHeader,
    ExportLine,
    in_range,
)
from hitl_cli.ledger.leaves import leaf_of
from hitl_cli.ledger.receipts import is_included, item_of, statements_stated
from hitl_cli.proof.checkpoint import signed_with
from hitl_cli.proof.tree import Frontier

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hitl_cli.ledger.check import Wrong
    from hitl_cli.ledger.leaves import Leaf
    from hitl_cli.ledger.receipts import Receipt
    from hitl_cli.people.groups import Groups
    from hitl_cli.proof.checkpoint import Checkpoint


@cache
def _lines() -> msgspec.json.Decoder[ExportLine]:
    """Return the decoder of a line. Cached, because making it takes 2 ms."""
    return msgspec.json.Decoder(inspected(ExportedCheckpoint | ExportedEntry | ExportedLeaf | ExportEnd))


class ExportCheck:
    """A check of an export, line by line. `items` is read first, the rest afterwards.

    `unchanged` are leaves that a checkpoint covers and that did not change, `pruned` leaves that a signed
    checkpoint announced as deleted, `later` leaves that no checkpoint covers, `absent` leaves outside of its
    range.
    """

    def __init__(
        self,
        lines: Iterable[bytes],
        name: str,
        groups: Groups,
        keys: Sequence[str],
        checkpoints: Sequence[Checkpoint] = (),
    ) -> None:
        """`name` is that of the file, for errors; `keys` sign checkpoints."""
        self._lines = lines
        self._name = name
        self._groups = groups
        self._keys = keys
        self._given = list(checkpoints)
        self._cutoff = 0
        self.checkpoints: tuple[CheckedCheckpoint, ...] = ()
        self.unchanged = self.pruned = self.later = self.absent = self.wrong = 0

    def items(self) -> Iterator[Verified | Finding]:
        """Yield the proof of each decision, and each changed leaf. Raises BadInput."""
        lines = iter(self._lines)
        header = self._read(next(lines, b""), ExportHeader)
        frontier = Frontier(header.start, [self._bytes(peak) for peak in header.peaks])
        roots: dict[int, bytes] = {frontier.size: frontier.root()}
        count, ended = 1, False
        for text in lines:
            if ended:
                raise self._bad("there are lines after its end")
            line = self._decoded(text)
            if isinstance(line, ExportEnd):
                ended = line.lines == count
                if not ended:
                    raise self._bad(f"it has {count:,} lines before its end instead of {line.lines:,}")
                continue
            count += 1
            if isinstance(line, ExportedCheckpoint):
                self._take(line.checkpoint, header)
                continue
            if line.leaf is not None:
                if line.leaf != frontier.size:
                    raise self._bad(f"the leaf {frontier.size:,} is missing")
                frontier.append(_logged(line).hash)
                if any(one.size == frontier.size for one in self._given):
                    roots[frontier.size] = frontier.root()
            yield from self._judged(line, header)
        if not ended:
            raise self._bad("its end is missing")
        self._compare(header, roots, frontier)

    def decisions(self) -> Iterator[Verified]:
        """Yield the proof of each decision. Raises BadInput."""
        return (one for one in self.items() if isinstance(one, Verified))

    def findings(self) -> Iterator[Finding]:
        """Yield each changed leaf. Raises BadInput."""
        return (one for one in self.items() if isinstance(one, Finding))

    def _take(self, checkpoint: Checkpoint, header: ExportHeader) -> None:
        """Also compare with a checkpoint of the file, unless others are given."""
        if checkpoint.pruned is not None and checkpoint.log == header.log:
            signed = signed_with(checkpoint, self._keys) is not None
            self._cutoff = max(self._cutoff, checkpoint.pruned if signed else 0)
        self._given.append(checkpoint)

    def _judged(
        self, line: ExportedEntry | ExportedLeaf, header: ExportHeader
    ) -> Iterator[Verified | Finding]:
        if isinstance(line, ExportedLeaf):
            if line.hidden:
                self.absent += 1
            elif is_pruned(line.logged, self._cutoff):
                self.pruned += 1
            elif in_range(header, line.logged.at):
                yield self._found(line.logged, "missing", line.leaf)
            else:
                self.absent += 1
            return
        if line.logged is not None:
            yield self._found(line.logged, "changed", line.leaf)
        if VOTE_TAG not in line.promise.tags:
            result = verified(item_of(line.promise, line.run), self._groups)
            self.wrong += result.state == "wrong"
            yield result

    def _found(self, leaf: Leaf, wrong: Wrong, index: int | None) -> Finding:
        self.wrong += 1
        return Finding(kind=leaf.kind, id=leaf.id, wrong=wrong, at=leaf.at, leaf=index)

    def _compare(self, header: ExportHeader, roots: dict[int, bytes], frontier: Frontier) -> None:
        """Compare the roots with the checkpoints."""
        checked = []
        for one in self._given:
            key = signed_with(one, self._keys)
            root = roots.get(one.size)
            why = None
            if key is None:
                why = "it is not signed with a checkpoint key of the settings"
            elif one.log != header.log:
                why = "it is of another database"
            elif one.size > frontier.size:
                why = f"the file has only {frontier.size:,} of its {one.size:,} leaves"
            elif root is None:
                why = f"the file begins after it, at leaf {header.start:,}"
            elif root.hex() != one.root:
                why = "the history in the file differs from the one that was signed"
            checked.append(CheckedCheckpoint(size=one.size, at=one.at, root=one.root, key=key, why=why))
        self.checkpoints = tuple(checked)
        self.wrong += sum(one.why is not None for one in checked)
        covered = max((one.size for one in checked if one.why is None), default=header.start)
        self.unchanged = covered - header.start
        self.later = frontier.size - covered

    def _read[T](self, text: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(text, type=inspected(kind))
        except (msgspec.MsgspecError, ValueError) as error:
            raise self._bad(in_document(error, kind)) from error

    def _decoded(self, text: bytes) -> ExportLine:
        try:
            return _lines().decode(text)
        except (msgspec.MsgspecError, ValueError) as error:
            raise self._bad(in_document(error, ExportLine)) from error

    def _bytes(self, text: str) -> bytes:
        try:
            return bytes.fromhex(text)
        except ValueError as error:
            raise self._bad(str(error)) from error

    def _bad(self, why: str) -> BadInput:
        return BadInput(f"{self._name} is not a whole export of the history: {why}.", code="bad-file")


def _logged(line: ExportedEntry | ExportedLeaf) -> Leaf:
    """Return the leaf of the log on a line."""
    if isinstance(line, ExportedLeaf):
        return line.logged
    return line.logged or leaf_of(line.promise)


def check_receipt(
    receipt: Receipt, groups: Groups, keys: Sequence[str], checkpoints: Sequence[Checkpoint] = ()
) -> Verified:
    """Return what a receipt proves: its signatures, and its path to its own checkpoint or the given ones."""
    result = verified(receipt.item, groups)
    why = result.why
    against = list(checkpoints) or ([] if receipt.checkpoint is None else [receipt.checkpoint])
    if not statements_stated(receipt):
        why = why or "its signed statements are about another decision"
    for one in against:
        if signed_with(one, keys) is None:
            why = why or "its checkpoint is not signed with a checkpoint key of the settings"
        elif not is_included(receipt, one):
            why = why or "its path of hashes does not lead to the checkpoint"
    return msgspec.structs.replace(result, state="wrong", why=why) if why else result
