"""Types that several threads may read for the first time at once.

msgspec 0.22 inspects a type when it first reads one, and stores what it knows of a Struct before that is
complete: a second thread that reads it meanwhile, or a type that has it in a field, crashes the process.
"""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from typing import Any, overload

import msgspec

_inspecting = threading.RLock()
# A fork in the middle of an inspection would leave the lock taken for ever in the child.
os.register_at_fork(
    before=_inspecting.acquire, after_in_parent=_inspecting.release, after_in_child=_inspecting.release
)


@overload
def inspected[T](kind: type[T]) -> type[T]: ...
@overload
def inspected(kind: object) -> Any: ...
def inspected(kind: Any) -> Any:
    """Return the type, which msgspec can then read in any thread. Raises TypeError if it cannot read it."""
    try:
        _inspect(kind)
    except TypeError:
        _inspect.__wrapped__(kind)  # it has no hash; or the same is raised again
    return kind


@lru_cache(4_096)
def _inspect(kind: Any) -> None:
    with _inspecting:
        msgspec.json.Decoder(kind)
