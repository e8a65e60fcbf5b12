"""The frameworks that `make frameworks` installs."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

START_S = 100.0
"""How long a program may take to start: a framework takes seconds of CPU to import."""


def need(*packages: str) -> None:
    """Skip the test module that calls it if a package is missing; with HITL_NEED_FRAMEWORKS, fail."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing and "HITL_NEED_FRAMEWORKS" in os.environ:
        raise ModuleNotFoundError(f"missing: {', '.join(missing)}")
    if missing:
        pytest.skip(f"no {', '.join(missing)} here: make frameworks installs it", allow_module_level=True)
