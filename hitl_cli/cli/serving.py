"""Shared by `hitl server`, `hitl gateway` and `hitl dev`: listen on a port until a signal."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hitl_cli.cli.logs import log_to_stderr
from hitl_cli.errors import cannot_listen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DESCRIPTORS = 16_384
"""Open files allowed for the process: two per stream, one per connection."""

STOPPED_WITHIN_S = 7.0
"""Maximum time to stop; longer than the grace period of requests in progress."""


@contextmanager
def listening(host: str, port: int, *, log_json: bool = False) -> Iterator[None]:
    """Set up logging and the limit of open files for a block that listens on an address.

    Raises BadInput if the address cannot be used.
    """
    import resource

    log_to_stderr(as_json=log_json)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        yield
    except OSError as error:
        raise cannot_listen(f"{host}:{port}", error) from error


def on_stop_signals(stop: Callable[[], None]) -> None:
    """Call a function in the event loop on SIGTERM or SIGINT; a second signal ends the process."""
    loop = asyncio.get_running_loop()
    ending = threading.Timer(STOPPED_WITHIN_S, os._exit, [0])
    ending.daemon = True

    def stop_once() -> None:
        if ending.is_alive():
            os._exit(0)
        ending.start()
        stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_once)
