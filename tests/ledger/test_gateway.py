"""The export at a gateway: for who may read decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hitl_cli.client.connect import connect
from hitl_cli.errors import NotDone
from hitl_cli.ledger import Ledger
from hitl_cli.ledger.files import ExportCheck
from hitl_cli.people.checkpoints import CheckpointSettings
from hitl_cli.people.contacts import Directory
from hitl_cli.people.groups import NO_GROUPS
from hitl_cli.remote.client import RemoteClient
from hitl_cli.remote.ledger import RemoteLedger
from tests.gateway.visiting import Browser, Page, Visited
from tests.ledger.history import OPS, Compared, decided, make_key

if TYPE_CHECKING:
    from tests.conftest import Hitl


def test_the_export_of_a_gateway_verifies_as_that_of_the_command(hitl: Hitl) -> None:
    signer = make_key(hitl.folder)
    directory = Directory(checkpoints=CheckpointSettings(keys=signer.known))
    with connect(hitl.url) as client:
        decided(client, "a", "b")
        signed = Ledger(client, OPS).checkpoint(signer)
    place = Visited(hitl, directory=directory, sign_in=True)
    try:
        browser = Browser(place.address)

        def export(can: str) -> Page:
            token = hitl.ok("token", "create", "--as", can, "--can", can).strip().splitlines()[-1]
            return browser.get("/api/v1/history.jsonl?since=1d", Authorization=f"Bearer {token}")

        assert export("ask").status == 403
        page = export("read")
    finally:
        place.stop()
    check = ExportCheck(page.text.encode().splitlines(), "f", NO_GROUPS, signer.known, [signed])
    assert len(list(check.items())) == 2
    assert [one.why for one in check.checkpoints] == [None, None]


def test_a_signed_in_person_verifies_at_a_gateway_with_keys_of_their_own(hitl: Hitl) -> None:
    signer = make_key(hitl.folder)
    with connect(hitl.url) as client:
        decided(client, "a", "b")
        signed = Ledger(client, OPS).checkpoint(signer)
    place = Visited(
        hitl, directory=Directory(checkpoints=CheckpointSettings(keys=signer.known)), sign_in=True
    )
    try:
        token = hitl.ok("token", "create", "--as", "auditor", "--can", "read").strip().splitlines()[-1]
        remote = RemoteClient(place.address, token)
        ledger = RemoteLedger(remote)
        assert [one.state for one in ledger.verify(NO_GROUPS, 0)] == ["claimed", "claimed"]
        assert list(ledger.verify(NO_GROUPS, remote.now() + 60_000)) == []
        found = Compared(ledger.check([signed], signer.known))
        assert (found.holds, found.counts[0]) == (True, 2)
        with pytest.raises(NotDone):
            ledger.checkpoint(signer)
    finally:
        place.stop()
