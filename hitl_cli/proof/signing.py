"""Signs decisions with a person's SSH key, or takes the signature that their passkey has made."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from hitl_cli.client.wire import Proof
from hitl_cli.errors import BadInput, BadProof
from hitl_cli.proof import ssh
from hitl_cli.proof.checking import signed_with
from hitl_cli.proof.statement import Statement

if TYPE_CHECKING:
    from hitl_cli.people.groups import Groups

type Signer = Callable[[Statement], Proof]
"""Signs a statement. Raises BadInput, and then nothing is decided."""

FRESH_MS = 15 * 60_000
"""How long a statement waits for its signature."""


def ssh_signer(chosen: Path | None, known: tuple[str, ...]) -> Signer:
    """Return a signer with the key in the file `chosen`, else with the SSH agent's only one that is `known`.

    `known` are the public keys of the person in the settings: a signature by any other proves nothing.
    """

    def sign(statement: Statement) -> Proof:
        if not known:
            raise BadInput(
                f'the settings have no key of {statement.by}: add [people] with ssh = ["ssh-ed25519 …"].'
                " Nothing was changed.",
                code="no-key",
            )
        stated = statement.canonical()
        with tempfile.TemporaryDirectory(prefix="hitl-") as folder:
            key = ssh.own_key(chosen, known, Path(folder))
            signature = ssh.sign(key, stated)
        if ssh.verify(signature, stated, known) is None:
            raise BadInput(
                f"{key} is not one of the keys of {statement.by} in the settings. Nothing was changed.",
                code="no-key",
            )
        return Proof(kind="ssh", decision=statement.decision, at=statement.at, signature=signature)

    return sign


def signed_before(proof: Proof, groups: Groups) -> Signer:
    """Return a signer that takes a signature made before, if it is of the statement to sign.

    The decision's id and its instant are those that were signed.
    """

    def sign(statement: Statement) -> Proof:
        if abs(statement.at - proof.at) > FRESH_MS:
            raise BadProof("this was signed too long ago: sign it again. Nothing was changed.")
        try:
            signed_with(proof, replace(statement, decision=proof.decision, at=proof.at), groups)
        except BadProof as error:
            raise BadProof(f"{error}. Nothing was changed.") from error
        return proof

    return sign
