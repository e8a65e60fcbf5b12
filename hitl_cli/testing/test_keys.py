"""The key with which everyone signs in a test. It is made when the first request needs a signed decision."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hitl_cli.format.public_keys import public_key
from hitl_cli.proof.signing import ssh_signer

if TYPE_CHECKING:
    from hitl_cli.proof.signing import Signer


class TestKeys(Mapping[str, tuple[str, ...]]):
    """The public keys of people in a test, by their names: everyone has the same one."""

    __test__ = False  # pytest

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hitl-", ignore_cleanup_errors=True)

    def __getitem__(self, person: str) -> tuple[str, ...]:
        return (public_key(Path(f"{self._file}.pub").read_text()),)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    @cached_property
    def signer(self) -> Signer:
        """The signer of everyone's decisions."""
        return ssh_signer(self._file, self[""])

    @cached_property
    def _file(self) -> Path:
        file = Path(self._folder.name) / "key"
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(file)]
        subprocess.run(command, check=True)  # noqa: S603
        return file

    def close(self) -> None:
        """Delete the key."""
        self._folder.cleanup()
