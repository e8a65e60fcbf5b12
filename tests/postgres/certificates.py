"""An authority of the tests' own, and certificates of it for a server and its clients, by openssl."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tests.postgres.programs import program

if TYPE_CHECKING:
    from pathlib import Path


class Authority:
    """Signs certificates, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._openssl("req", "-x509", *_KEY, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority")

    @property
    def certificate(self) -> Path:
        return self._folder / "ca.pem"

    def sign(self, name: str) -> tuple[Path, Path]:
        """Return the certificate and the key of a host or a user."""
        key, asked, signed = (self._folder / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
        self._openssl("req", *_KEY, "-keyout", str(key), "-out", str(asked), "-subj", f"/CN={name}")
        names = self._folder / "names"
        names.write_text(f"subjectAltName=DNS:{name}\n")
        by = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", str(names))
        self._openssl("x509", "-req", "-in", str(asked), "-out", str(signed), *by)
        return signed, key

    def _openssl(self, *args: str) -> None:
        subprocess.run([program("openssl"), *args], cwd=self._folder, check=True, capture_output=True)


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
