"""The addresses of workers, as the SDKs write them."""

from __future__ import annotations

SHARE_PAUSE_S = 0.003
"""How long a worker that took work leaves what comes to the others of its group, if there are any.
One that is awake anyway would else be faster, each time, than one that has to wake up first."""


def any_of(group: str) -> str:
    """Return the address that any worker of the group takes messages for."""
    return f"poll://any@{group}"


def one_of(group: str, pid: str) -> str:
    """Return the address of one worker alone."""
    return f"poll://uni@{group}/{pid}"
