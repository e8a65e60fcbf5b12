"""Receipts: one decision with its signatures and its path to a checkpoint, proven without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from hitl_cli.client.wire import Promise
from hitl_cli.errors import BadInput, Conflict, NotSignable
from hitl_cli.format.validation import in_document
from hitl_cli.inbox.request_summary import RequestSummary
from hitl_cli.inspected import inspected
from hitl_cli.ledger.leaves import leaf_of
from hitl_cli.ledger.log import Log
from hitl_cli.proof.checking import deciding_votes
from hitl_cli.proof.checkpoint import Checkpoint
from hitl_cli.proof.statement import Statement, statement_of
from hitl_cli.proof.tree import inclusion_path, root_by_inclusion
from hitl_cli.requests.amendments import if_assigned
from hitl_cli.requests.question import question_of

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client


class Receipt(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A decided request, and the run that asked, as promises. `statements` are what each person signed.

    `path` are the hashes, in hex, from the leaf with the index `leaf` to the root of the checkpoint.
    """

    receipt: Literal["hitl-receipt/1"]
    promise: Promise
    run: Promise | None = None
    statements: tuple[Statement, ...] = ()
    leaf: int | None = None
    path: tuple[str, ...] = ()
    checkpoint: Checkpoint | None = None

    @property
    def item(self) -> RequestSummary:
        """The request."""
        return item_of(self.promise, self.run)


def item_of(promise: Promise, run: Promise | None) -> RequestSummary:
    """Return the decided request in a receipt. Its amendments are not known."""
    now = promise.settled_at or promise.timeout_at
    question = question_of(promise)
    asked = None if question is None else if_assigned(question)
    return RequestSummary(promise=promise, question=asked, run=run, now=now)


def receipt_of(client: Client, item: RequestSummary, checkpoint: Checkpoint | None) -> Receipt:
    """Return the receipt of a decided request, with its path to a checkpoint that covers it.

    Raises Conflict for an open request, WrongHistory for a damaged log.
    """
    if item.waits:
        raise Conflict(f"{item.id} is not decided yet, so there is no receipt.", code="not-decided")
    receipt = Receipt(
        receipt="hitl-receipt/1",
        promise=item.promise,
        run=item.run if item.run is not None and item.run.is_run else None,
        statements=_statements(item.promise, item.run),
    )
    if checkpoint is None:
        return receipt
    log = Log(client)
    index = log.index_of(leaf_of(item.promise))
    if index is None or index >= checkpoint.size:
        return receipt
    path = inclusion_path(index, checkpoint.size, log.subtree)
    return msgspec.structs.replace(
        receipt, leaf=index, path=tuple(node.hex() for node in path), checkpoint=checkpoint
    )


def is_included(receipt: Receipt, checkpoint: Checkpoint) -> bool:
    """Whether the path of a receipt leads to the root of a checkpoint."""
    try:
        path = [bytes.fromhex(node) for node in receipt.path]
    except ValueError:
        return False
    if receipt.leaf is None:
        return False
    leaf = leaf_of(receipt.promise).hash
    root = root_by_inclusion(leaf, receipt.leaf, checkpoint.size, path)
    return root is not None and root.hex() == checkpoint.root


def read_receipt(text: bytes, name: str) -> Receipt:
    """Return the receipt in a file with this name. Raises BadInput."""
    try:
        return msgspec.json.decode(text, type=inspected(Receipt))
    except (msgspec.MsgspecError, ValueError) as error:
        raise BadInput(f"{name} is not a receipt: {in_document(error, Receipt)}.", code="bad-file") from error


def statements_stated(receipt: Receipt) -> bool:
    """Whether the statements in a receipt are those of its promise."""
    try:
        return receipt.statements == _statements(receipt.promise, receipt.run)
    except NotSignable:
        return False


def _statements(promise: Promise, run: Promise | None) -> tuple[Statement, ...]:
    """Return the statements that each person who decided a request has signed. Raises NotSignable."""
    return tuple(
        statement_of(promise, run, vote, vote.proof.decision, vote.proof.at)
        for vote in deciding_votes(promise)
        if vote.proof is not None
    )
