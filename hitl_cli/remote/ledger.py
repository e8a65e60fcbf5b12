"""`Ledger` at a gateway: the export is read there, and verified here with the keys of the local settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.ledger import Ledger
from hitl_cli.ledger.files import ExportCheck
from hitl_cli.people.groups import NO_GROUPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hitl_cli.inbox.proof import Verified
    from hitl_cli.people.groups import Groups
    from hitl_cli.proof.checkpoint import Checkpoint
    from hitl_cli.remote.client import RemoteClient


class RemoteLedger(Ledger):
    """The proof of the history at a gateway. Checkpoints and receipts need the server itself."""

    def __init__(self, client: RemoteClient) -> None:
        self._remote = client
        super().__init__(client, client.me)

    def verify(self, groups: Groups, since: int | None, until: int | None = None) -> Iterator[Verified]:
        """Yield the result of checking each decision; `groups` are the people of the local settings."""
        lines = self.export((), since, until)
        return ExportCheck(lines, self._remote.name, groups, ()).decisions()

    def check(
        self,
        checkpoints: Sequence[Checkpoint],
        keys: Sequence[str],
        since: int | None = None,  # noqa: ARG002
    ) -> ExportCheck:
        """Return a check of the history that the gateway shows."""
        return ExportCheck(self.export(keys), self._remote.name, NO_GROUPS, keys, checkpoints)

    def export(
        self,
        keys: Sequence[str],  # noqa: ARG002 - the gateway has its own
        since: int | None = None,
        until: int | None = None,
    ) -> Iterator[bytes]:
        """Yield the history from an instant to before another one, as lines of JSON."""
        now = self._remote.now()
        ago = {"since": since, "until": until}
        query = {name: f"{max(now - at, 1)}ms" for name, at in ago.items() if at is not None}
        return self._remote.api.lines("/history.jsonl", query)
