"""Folders of tests in memory: they are quicker, because nothing is written to a disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

MEMORY = Path("/dev/shm")


def in_memory(room: int) -> Path | None:
    """Return a folder in memory where `room` bytes are free and programs can run; None means a disk.

    ext4 searches long for the number of a new file where many were just deleted.
    """
    if not os.access(MEMORY, os.W_OK) or os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
        return None
    return MEMORY if shutil.disk_usage(MEMORY).free > room else None
