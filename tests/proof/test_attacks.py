"""Attackers, each with what they have: what holds, and what does not (docs/explanation/proof.md).

Others are in test_signed.py (who can settle promises, or write the file), test_statement.py (who changes any
part of a request or a record), test_demanded.py (who changes a request before it is signed, writes the result
of a step, or has the gateway) and test_keys.py (thieves of keys).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from hitl_cli.client.connect import connect, file_url
from hitl_cli.client.protocol import call
from hitl_cli.client.wire import audit_of, decode, encode
from hitl_cli.errors import BadInput, NotAllowed, Unproven
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.ask import decision_of
from hitl_cli.people.actor import Actor
from hitl_cli.proof.signing import ssh_signer
from hitl_cli.requests.decision_input import DecisionInput
from hitl_cli.requests.question import Question
from tests.inbox.requests import HOUR_MS
from tests.proof.signers import approve, key, public
from tests.proof.test_demanded import PLAIN, client, put, settle, stored, used

if TYPE_CHECKING:
    from pathlib import Path

    from hitl_cli.client.protocol import Client

__all__ = ["client"]

YES = DecisionInput(verdict="approve")


def test_who_stole_a_database_cannot_use_its_signatures_in_another(client: Client, tmp_path: Path) -> None:
    """The same id, and word for word the same question."""
    put(client, PLAIN, proof="signed")
    approve(client, PLAIN, "pay-7", "lead", "lead")
    with connect(file_url(tmp_path / "other.db")) as other:
        put(other, PLAIN, proof="signed")
        settle(other, "pay-7", True, audit_of(stored(client, "pay-7")))
        with pytest.raises(Unproven):
            used(other, PLAIN)
    assert used(client, PLAIN)


def test_who_has_the_keys_of_a_gateway_decides_as_anyone_and_signs_as_nobody(client: Client) -> None:
    """With them, links, sessions and tokens of anyone can be made: they are actors to the inbox."""
    put(client, PLAIN, proof="signed", to=("lead",))
    put(client, PLAIN, "claimed", to=("lead",))
    forged = Inbox(client, Actor(person="lead", via="link", only="pay-7", groups=PLAIN))
    with pytest.raises(NotAllowed) as refused:
        forged.decide("pay-7", YES)
    assert refused.value.code == "proof-needed"
    Inbox(client, Actor(person="lead", via="web", groups=PLAIN)).decide("claimed", YES)
    assert used(client, PLAIN, "claimed")  # without proof, the gateway's word counts


def test_an_agent_in_the_shell_of_its_user_signs_if_the_shell_can(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(client, PLAIN, proof="signed")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    agent = Inbox(client, Actor(person="lead", via="cli", groups=PLAIN))
    for chosen in (None, key("thief")):
        agent.signer = ssh_signer(chosen, (public("lead"),), quiet=True)
        with pytest.raises(BadInput) as refused:
            agent.decide("pay-7", YES)
        assert refused.value.code == "no-key"
    agent.signer = ssh_signer(key("lead"), (public("lead"),), quiet=True)
    agent.decide("pay-7", YES)
    assert used(client, PLAIN)  # a key that needs no touch and no passphrase is as good as its owner


def test_who_moves_the_instant_of_an_approval_does_not_prolong_it(client: Client) -> None:
    put(client, PLAIN, proof="signed", valid_for=60_000)
    approve(client, PLAIN, "pay-7", "lead", "lead")
    promise = stored(client, "pay-7")
    audit = audit_of(promise)
    assert audit.at is not None
    moved = msgspec.structs.replace(audit, at=audit.at + HOUR_MS)
    value = encode(decode(promise.value), moved.headers())
    assert used(client, PLAIN)
    with pytest.raises(Unproven, match="time"):
        decision_of(msgspec.structs.replace(promise, value=value), Question(prompt="Pay?"), PLAIN)


def test_who_changes_what_must_be_proven_before_it_is_signed_gets_no_yes(client: Client) -> None:
    """The person signs what they are shown: for one signature instead of two, or for other people."""
    asked = Question(prompt="Pay?", proof="signed", approvals=2, to=("group:board",))
    put(client, PLAIN, proof="signed", to=("group:board",))
    approve(client, PLAIN, "pay-7", "lead", "lead")
    assert used(client, PLAIN)
    with pytest.raises(Unproven):
        used(client, PLAIN, asked=asked)


def test_a_rejection_is_believed_of_anyone(client: Client) -> None:
    put(client, PLAIN, proof="signed")
    value = encode({"__type": "error", "message": "no"}, {"hitl:by": "lead"})
    assert call(client, "promise.settle", id="pay-7", state="rejected", value=value).status == 200
    assert not used(client, PLAIN)
