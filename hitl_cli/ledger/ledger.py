"""`Ledger`: the proof of the history on one server, for one person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from hitl_cli.errors import NotAllowed
from hitl_cli.people.away import with_deputies
from hitl_cli.people.sight import Sight

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.proof import Verified
    from hitl_cli.inbox.request_summary import RequestSummary
    from hitl_cli.ledger.check import Finding, HistoryCheck
    from hitl_cli.ledger.files import ExportCheck
    from hitl_cli.ledger.receipts import Receipt
    from hitl_cli.people.actor import Actor
    from hitl_cli.people.groups import Groups
    from hitl_cli.proof.checkpoint import Checkpoint, CheckpointSigner


class Ledger:
    """The proof of the history on a server, for one actor. Calls block.

    Each method raises NotAllowed without the permission `read`, WrongHistory for a damaged log, and
    Unreachable. Where not everyone sees everything, the whole history is for auditors; operators may also
    make checkpoints. Requests with private parts that the actor may not see are left out of an export.
    """

    def __init__(self, client: Client, actor: Actor) -> None:
        self.client = client
        self.actor = replace(actor, groups=with_deputies(client, actor.groups))

    def checkpoint(self, signer: CheckpointSigner, *, pruned: int | None = None) -> Checkpoint:
        """Sign the root over all decisions and votes so far, and return it.

        `pruned` is an instant: the runs that ended before are about to be deleted. Raises BadInput,
        NotFound (no decisions yet).
        """
        from hitl_cli.ledger import checkpoints

        if not self.actor.operates:
            self._require_all()
        self.actor.require("read")
        made = checkpoints.make(self.client, signer, pruned)
        assert made is not None  # its id is random
        return made

    def verify(self, groups: Groups, since: int | None, until: int | None = None) -> Iterator[Verified]:
        """Yield the result of checking each decision between two instants, newest first.

        `groups` are the people of the settings with their keys.
        """
        from hitl_cli.inbox.proof import verify_since

        self.actor.require("read")
        return verify_since(self.client, since or 0, until, groups, Sight(self.actor))

    def check(
        self, checkpoints: Sequence[Checkpoint], keys: Sequence[str], since: int | None = None
    ) -> HistoryCheck | ExportCheck:
        """Return a check of the whole history on a server, or of the part from `since` on."""
        from hitl_cli.ledger.check import HistoryCheck

        self._require_all()
        return HistoryCheck(self.client, checkpoints, keys, since)

    def check_one(
        self, item: RequestSummary, checkpoints: Sequence[Checkpoint], keys: Sequence[str]
    ) -> Finding | None:
        """Return how one decision differs from checkpoints; None if it does not."""
        from hitl_cli.ledger.check import check_one

        self.actor.require("read")
        return check_one(self.client, item, checkpoints, keys)

    def export(
        self, keys: Sequence[str], since: int | None = None, until: int | None = None
    ) -> Iterator[bytes]:
        """Yield the history from an instant to before another one, as lines of JSON."""
        from hitl_cli.ledger.export import export

        self._require_all()
        return export(self.client, keys, since, until, Sight(self.actor))

    def _require_all(self) -> None:
        """Raise NotAllowed unless the actor sees everything."""
        self.actor.require("read")
        if not self.actor.sees_all:
            raise NotAllowed(
                f"this needs the role auditor, because {self.actor.person} sees only some requests.",
                code="role-missing",
            )

    def receipt(self, name: str, keys: Sequence[str], checkpoint: Checkpoint | None = None) -> Receipt:
        """Return the receipt of a decision, with its path to a checkpoint: this one, or the latest.

        Raises NotFound, Conflict (not decided), BadInput (ambiguous name).
        """
        from hitl_cli.inbox import Inbox
        from hitl_cli.ledger.checkpoints import stored
        from hitl_cli.ledger.receipts import receipt_of

        self.actor.require("read")
        item = Inbox(self.client, self.actor).find(name)
        if item.hidden:
            raise NotAllowed(
                f"{item.id} has parts that only its assignees see: only they and auditors can have its"
                " receipt.",
                code="parts-hidden",
            )
        return receipt_of(self.client, item, checkpoint or next(stored(self.client, keys), None))
