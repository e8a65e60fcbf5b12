"""Files that only this user can read: keys, tokens, and the states of runs."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NAME_CHARS = 200
"""Characters of the file's name in that of the new file: the system allows 255 bytes."""


def write_private(path: Path, content: bytes, *, replace: bool = True) -> bool:
    """Write a file as a whole, readable by this user alone. Returns False if it exists and must stay.

    Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f"{path.name[:NAME_CHARS]}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            beside.replace(path)
        else:
            os.link(beside, path)
    except FileExistsError:
        return False
    finally:
        beside.unlink(missing_ok=True)
    return True
