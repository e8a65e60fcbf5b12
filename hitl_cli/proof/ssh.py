"""Signatures by SSH keys, made and verified by OpenSSH: `ssh-keygen -Y sign` and `-Y verify`.

So agents, hardware keys and passphrases work as for ssh, and signatures can be verified by hand. The format
is SSHSIG (OpenSSH, PROTOCOL.sshsig).
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from hitl_cli.errors import BadInput, BadProof, BadSetting
from hitl_cli.format.public_keys import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Sequence

PRINCIPAL = "signer"
"""The name of the signer in the file of allowed signers. It is not the person's, which may be a pattern."""

KEPT = 10_000
"""Verified signatures in memory: a statement has some 600 bytes."""

PATIENCE_S = 120.0
"""How long signing may take: a person may have to touch a key, or to type a passphrase."""

_VERIFIED = re.compile(r"^Good .* (SHA256:[A-Za-z0-9+/=]+)\s*$", re.MULTILINE)


def own_key(chosen: Path | None, known: Sequence[str], folder: Path) -> Path:
    """Return the file of the key to sign with: the chosen one, or the agent's only key that is `known`.

    A key of the agent is written to `folder`, as a public key. Raises BadInput.
    """
    if chosen is not None:
        if not chosen.exists():
            raise BadInput(f"there is no key at {chosen}. Nothing was changed.", code="no-key")
        return chosen
    held = agent_keys()
    mine = [key for key in known if key in held]
    if len(mine) != 1:
        found = "none" if not mine else str(len(mine))
        raise BadInput(
            "no key chosen: pass --key or set HITL_SSH_KEY. Of your keys in the settings, the SSH agent has"
            f" {found}."
            " Nothing was changed.",
            code="no-key",
        )
    public = folder / "key.pub"
    public.write_text(f"{mine[0]}\n")
    return public


def agent_keys() -> set[str]:
    """Return the public keys of the SSH agent; none if there is no agent. Raises BadInput, BadSetting."""
    lines = _run("ssh-add", "-L").stdout.decode(errors="replace").splitlines()
    return {f"{parts[0]} {parts[1]}" for parts in map(str.split, lines) if len(parts) > 1}


def sign(key: Path, statement: bytes, namespace: str = NAMESPACE, *, quiet: bool = False) -> str:
    """Return the signature of a statement by a private key: in a file, or in the agent for a public one.

    `quiet` keeps OpenSSH from asking for a passphrase on the terminal. Raises BadInput.
    """
    command = ("ssh-keygen", "-Y", "sign", "-q", "-n", namespace, "-f", str(key))
    done = _run(*command, stdin=statement, own_session=quiet)
    if done.returncode != 0:
        raise _not_signed(key, done.stderr.decode(errors="replace").strip())
    return done.stdout.decode()


def needs_touch(key: Path) -> bool:
    """Whether a person must touch the key for each signature: it is in hardware (its public half says so)."""
    public = key if key.suffix == ".pub" else key.with_name(f"{key.name}.pub")
    return public.exists() and public.read_bytes().startswith(b"sk-")


def _not_signed(key: Path, said: str) -> BadInput:
    """Return the error for a key that did not sign, from OpenSSH's output."""
    if "too open" in said or "bad permissions" in said:
        why = f"others can read {key}: run chmod 600 on it. Nothing was changed."
        return BadInput(why, code="key-permissions")
    if "passphrase" in said:
        why = f"the passphrase of {key} is wrong, or could not be typed here. Nothing was changed."
        return BadInput(why, code="wrong-passphrase")
    why = (said.splitlines() or ["it refused"])[-1].rstrip(".")
    if "No private key found" in said or "agent refused" in said:
        why = f"the SSH agent does not have the private key of {key}, or refused"
    return BadInput(f"ssh-keygen did not sign: {why}. Nothing was changed.", code="not-signed")


def verify(signature: str, statement: bytes, keys: Sequence[str], namespace: str = NAMESPACE) -> str | None:
    """Return the fingerprint of the key that made a signature; None if it is not one of these.

    Raises BadSetting if OpenSSH is missing.
    """
    try:
        return _verified(signature, statement, tuple(keys), namespace)
    except BadProof:
        return None


@lru_cache(KEPT)
def _verified(signature: str, statement: bytes, keys: tuple[str, ...], namespace: str) -> str:
    """Do the same as `verify`, and cache the answer for the next use of a decision. Raises BadProof."""
    with tempfile.TemporaryDirectory(prefix="hitl-") as folder:
        signers, signed = Path(folder, "signers"), Path(folder, "signature")
        signers.write_text("".join(f'{PRINCIPAL} namespaces="{namespace}" {key}\n' for key in keys))
        signed.write_text(signature)
        done = _run("ssh-keygen", "-Y", "verify", "-n", namespace, "-I", PRINCIPAL, "-f", str(signers),
                    "-s", str(signed), stdin=statement)  # fmt: skip
    found = _VERIFIED.search(done.stdout.decode(errors="replace"))
    if done.returncode != 0 or found is None:
        raise BadProof("none of these keys made this signature")
    return found[1]


def asks_each_time(key: Path) -> bool:
    """Whether each signature by the key in a file needs a person: a touch, or its passphrase."""
    if needs_touch(key) or key.suffix == ".pub":
        return needs_touch(key)
    return unlocked(key) is None


def unlocked(key: Path) -> str | None:
    """Return the public half of the private key in a file; None if it has a passphrase, or is not a key."""
    done = _run("ssh-keygen", "-y", "-P", "", "-f", str(key))
    return None if done.returncode != 0 else " ".join(done.stdout.decode(errors="replace").split()[:2])


def _run(*command: str, stdin: bytes = b"", own_session: bool = False) -> subprocess.CompletedProcess[bytes]:
    """Run a program of OpenSSH. Raises BadSetting if there is none."""
    try:
        return subprocess.run(  # noqa: S603
            command,
            input=stdin,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
            start_new_session=own_session,
        )
    except FileNotFoundError as error:
        raise BadSetting(f"{command[0]} is missing: signatures need OpenSSH.", code="no-openssh") from error
    except subprocess.TimeoutExpired as error:
        raise BadInput(f"{command[0]} did not answer. Nothing was changed.", code="not-signed") from error
