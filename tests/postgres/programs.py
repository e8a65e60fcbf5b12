"""Programs of Debian beside PostgreSQL: where they are installed, or in a folder of unpacked packages."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def program(name: str) -> str:
    """Return the path of a program, of this machine or of HITL_DEBIAN (`dpkg -x` into it), or skip."""
    unpacked = os.environ.get("HITL_DEBIAN")
    path = os.pathsep.join((f"{unpacked}/usr/sbin", f"{unpacked}/usr/bin")) if unpacked else None
    found = (unpacked and shutil.which(name, path=path)) or shutil.which(name)
    if not found:
        pytest.skip(f"no {name} here: install it, or name a folder with its unpacked package in HITL_DEBIAN")
    return found


def library(name: str) -> Path:
    """Return the path of a library, found in the same way."""
    for root in filter(None, (os.environ.get("HITL_DEBIAN"), "/")):
        if found := next(Path(root).glob(f"usr/lib/**/{name}"), None):
            return found
    pytest.skip(f"no {name} here: install it, or name a folder with its unpacked package in HITL_DEBIAN")
