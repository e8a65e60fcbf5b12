"""Signs decisions with a person's SSH key, or accepts a signature that their passkey has made."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from hitl_cli.client.wire import Proof, SignatureKind
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.errors import BadInput, BadProof
from hitl_cli.format.passkeys import Passkey, passkey
from hitl_cli.format.public_keys import fingerprint
from hitl_cli.format.shell import command
from hitl_cli.people.quorum import approvals, voice_of
from hitl_cli.proof import ssh
from hitl_cli.proof.checking import ALWAYS, check_life, signed_with
from hitl_cli.proof.statement import Statement

if TYPE_CHECKING:
    from hitl_cli.people.groups import Groups
    from hitl_cli.requests.question import Question

FRESH_MS = 15 * 60_000
"""How long a statement waits for its signature."""


class Signer(Struct, frozen=True):
    """Signs a statement, with a key of one kind. `sign` raises BadInput, and then nothing is decided."""

    kind: SignatureKind
    sign: Callable[[Statement], Proof]

    def __call__(self, statement: Statement) -> Proof:
        """Return the proof of a statement. Raises what `sign` does."""
        return self.sign(statement)


def usable_keys(person: str, groups: Groups) -> tuple[str, ...]:
    """Return the public keys of a person in the settings that are valid now."""
    now, lives = now_ms(), groups.lives
    keys = groups.ssh.get(groups.key(person), ())
    return tuple(key for key in keys if lives.get(fingerprint(key), ALWAYS).is_valid(now))


def usable_passkeys(person: str, groups: Groups, origin: str | None) -> tuple[Passkey, ...]:
    """Return the passkeys of a person in the settings that are valid now, for an origin."""
    return tuple(key for key in _valid_passkeys(person, groups) if key.origin == origin)


def _valid_passkeys(person: str, groups: Groups) -> Iterator[Passkey]:
    now, lives = now_ms(), groups.lives
    keys = map(passkey, groups.passkeys.get(groups.key(person), ()))
    return (key for key in keys if lives.get(key.fingerprint, ALWAYS).is_valid(now))


def too_few_sign(question: Question, groups: Groups, to: Sequence[str] | None = None) -> str:
    """Return a sentence if too few people have a valid key in the settings to sign; otherwise nothing.

    `to` are the present assignees, if they differ from those of the question.
    """
    if question.proof is None:
        return ""
    known = groups.ssh.keys() | groups.passkeys.keys()
    names = question.everyone if to is None else to
    asked = {person for name in names for person in groups.group(name) or {groups.key(name)}}
    able = [
        person
        for person in (known & asked if asked else known)
        if any(_valid_passkeys(person, groups))
        or (question.proof == "signed" and usable_keys(person, groups))
    ]
    most = approvals(question, [voice_of(person, groups) for person in able], groups)
    if most >= question.approvals:
        return ""
    kind = "passkey" if question.proof == "passkey" else "key"
    count = "nobody" if not able else f"only {most} of the {question.approvals} who must sign"
    return f"Too few assignees can sign: {count} has a valid {kind} in the settings. See `hitl people`."


def ssh_signer(
    chosen: Path | None,
    known: tuple[str, ...],
    *,
    tell: Callable[[str], None] = lambda _: None,
    quiet: bool = False,
) -> Signer:
    """Return a signer with the key in the file `chosen`, or with the SSH agent's only key that is `known`.

    `known` are the public keys of the person in the settings: a signature by any other key proves nothing.
    `tell` is called when a key must be touched; `quiet` asks for no passphrase on the terminal.
    """

    def sign(statement: Statement) -> Proof:
        if not known:
            raise BadInput(
                f"the settings have no valid key of {statement.by}:"
                f" `{command('people add', [statement.by])} --ssh FILE` prints how to add one."
                " Nothing was changed.",
                code="no-key",
            )
        stated = statement.canonical()
        with tempfile.TemporaryDirectory(prefix="hitl-") as folder:
            key = ssh.own_key(chosen, known, Path(folder))
            if ssh.needs_touch(key):
                tell(f"Touch {key} to sign the decision on {statement.request}.")
            signature = ssh.sign(key, stated, quiet=quiet)
        if ssh.verify(signature, stated, known) is None:
            raise BadInput(
                f"{key} is not one of the valid keys of {statement.by} in the settings. Nothing was changed.",
                code="no-key",
            )
        return Proof(kind="ssh", decision=statement.decision, at=statement.at, signature=signature)

    return Signer("ssh", sign)


def signed_before(proof: Proof, groups: Groups) -> Signer:
    """Return a signer that uses an existing signature, if it is of the statement to sign.

    The decision gets the signed id and instant.
    """

    def sign(statement: Statement) -> Proof:
        if abs(statement.at - proof.at) > FRESH_MS:
            raise BadProof("the signature is too old: sign again. Nothing was changed.")
        try:
            key = signed_with(proof, replace(statement, decision=proof.decision, at=proof.at), groups)
            check_life(key, groups.lives.get(key, ALWAYS), proof.at, statement.at)
        except BadProof as error:
            raise BadProof(f"{error}. Nothing was changed.") from error
        return proof

    return Signer(proof.kind, sign)
