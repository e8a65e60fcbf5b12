"""The addresses of workers, in the SDKs' format."""

from __future__ import annotations

SHARE_PAUSE_S = 0.003
"""How long a worker that has taken work leaves new work to others of its group, if there are any. Otherwise a
worker that is awake would always be faster than one that has to wake up."""


def any_of(group: str) -> str:
    """Return the address of any worker of a group."""
    return f"poll://any@{group}"


def one_of(group: str, pid: str) -> str:
    """Return the address of one worker."""
    return f"poll://uni@{group}/{pid}"
