"""Signs decisions with a person's SSH key."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from hitl_cli.client.wire import Proof
from hitl_cli.errors import BadInput
from hitl_cli.proof import ssh
from hitl_cli.proof.statement import Statement

type Signer = Callable[[Statement], Proof]
"""Signs a statement. Raises BadInput, and then nothing is decided."""


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
