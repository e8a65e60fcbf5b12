"""Signatures by SSH keys, made and verified by OpenSSH: `ssh-keygen -Y sign` and `-Y verify`.

So agents, hardware keys and passphrases work as they do for ssh, and anybody can verify by hand. The format
is SSHSIG (OpenSSH, PROTOCOL.sshsig).
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hitl_cli.errors import BadInput, BadSetting

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMESPACE = "hitl-decision"
"""What the signatures are for, so that one of a commit or a mail is none of a decision."""

PRINCIPAL = "signer"
"""The name of the signer in the file of allowed signers. It is not the person's, which may be a pattern."""

PATIENCE_S = 120.0
"""How long signing may take: a person may have to touch a key, or to type a passphrase."""

_VERIFIED = re.compile(r"^Good .* (SHA256:[A-Za-z0-9+/=]+)\s*$", re.MULTILINE)


def own_key(chosen: Path | None, known: Sequence[str], folder: Path) -> Path:
    """Return the file of the key to sign with: the chosen one, else the agent's only one that is `known`.

    A key of the agent is written to `folder`, as a public key. Raises BadInput.
    """
    if chosen is not None:
        if not chosen.exists():
            raise BadInput(f"there is no key at {chosen}. Nothing was changed.", code="no-key")
        return chosen
    done = _run("ssh-add", "-L")
    held = {f"{kind} {blob}" for kind, blob, *_ in map(str.split, done.stdout.decode().splitlines()) if blob}
    mine = [key for key in known if key in held]
    if len(mine) != 1:
        found = "none" if not mine else str(len(mine))
        raise BadInput(
            f"name a key with --key or HITL_SSH_KEY: of your keys in the settings, the SSH agent has {found}."
            " Nothing was changed.",
            code="no-key",
        )
    public = folder / "key.pub"
    public.write_text(f"{mine[0]}\n")
    return public


def sign(key: Path, statement: bytes, namespace: str = NAMESPACE) -> str:
    """Return the signature of a statement by the private key in a file, or the agent's to a public one.

    Raises BadInput.
    """
    done = _run("ssh-keygen", "-Y", "sign", "-q", "-n", namespace, "-f", str(key), stdin=statement)
    if done.returncode != 0:
        why = done.stderr.decode(errors="replace").strip().splitlines() or ["it refused"]
        raise BadInput(f"ssh-keygen did not sign: {why[-1]}. Nothing was changed.", code="not-signed")
    return done.stdout.decode()


def verify(signature: str, statement: bytes, keys: Sequence[str], namespace: str = NAMESPACE) -> str | None:
    """Return the fingerprint of the key of these that made a signature; None if it is none of them.

    Raises BadSetting if OpenSSH is missing.
    """
    with tempfile.TemporaryDirectory(prefix="hitl-") as folder:
        signers, signed = Path(folder, "signers"), Path(folder, "signature")
        signers.write_text("".join(f'{PRINCIPAL} namespaces="{namespace}" {key}\n' for key in keys))
        signed.write_text(signature)
        done = _run("ssh-keygen", "-Y", "verify", "-n", namespace, "-I", PRINCIPAL, "-f", str(signers),
                    "-s", str(signed), stdin=statement)  # fmt: skip
    found = _VERIFIED.search(done.stdout.decode(errors="replace"))
    return found[1] if done.returncode == 0 and found is not None else None


def _run(*command: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a program of OpenSSH. Raises BadSetting if there is none."""
    try:
        return subprocess.run(  # noqa: S603
            command, input=stdin, capture_output=True, timeout=PATIENCE_S, check=False
        )
    except FileNotFoundError as error:
        raise BadSetting(f"{command[0]} is missing: signatures need OpenSSH.") from error
    except subprocess.TimeoutExpired as error:
        raise BadInput(f"{command[0]} did not answer. Nothing was changed.", code="not-signed") from error
