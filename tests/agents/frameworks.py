"""The frameworks that `make frameworks` installs."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

START_S = 100.0
"""How long a program may take to start: a framework takes seconds of CPU to import."""


def need(*packages: str) -> None:
    """Skip the test module that calls it but in `make frameworks`, where a missing package is an error.

    They take four seconds to import, and each process that runs tests would import them.
    """
    if not asked_for():
        pytest.skip("`make frameworks` runs these", allow_module_level=True)
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(f"missing: {', '.join(missing)}")


def asked_for() -> bool:
    """Whether this is `make frameworks`."""
    return "HITL_NEED_FRAMEWORKS" in os.environ
