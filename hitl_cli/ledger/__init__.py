"""Proof that the history was not changed: its log, checkpoints, exports and receipts.

Every decision, and every vote, is a leaf of the tree of RFC 6962 (docs/reference/proof.md).
"""

from hitl_cli.ledger.ledger import Ledger

__all__ = ["Ledger"]
