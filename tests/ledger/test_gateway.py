"""The export at a gateway: for who may read decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.client.connect import connect
from hitl_cli.ledger import Ledger
from hitl_cli.ledger.files import ExportCheck
from hitl_cli.people.checkpoints import CheckpointSettings
from hitl_cli.people.contacts import Directory
from hitl_cli.people.groups import NO_GROUPS
from tests.gateway.visiting import Browser, Page, Visited
from tests.ledger.history import OPS, decided, make_key

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
