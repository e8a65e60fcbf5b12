"""What `hitl server`, `hitl gateway` and `hitl dev` share: listening at a port until a signal stops them."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hitl_cli.cli.worker import log_to_stderr
from hitl_cli.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DESCRIPTORS = 16_384
"""Files that the process may have open: two a stream, one a connection."""

STOPPED_WITHIN_S = 7.0
"""How long it may take to stop: longer than requests in hand are given, which may hang on another server."""

REASONS = {
    errno.EADDRINUSE: "the port is in use; name another with --port",
    errno.EACCES: "the port needs privileges; name one above 1023 with --port",
}


@contextmanager
def listening(host: str, port: int) -> Iterator[None]:
    """Log to stderr, and allow the descriptors that streams need, in a block that listens at an address.

    Raises BadInput where that fails.
    """
    import resource

    log_to_stderr()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        yield
    except OSError as error:
        reason = REASONS.get(error.errno or 0) or error.strerror or str(error)
        raise BadInput(f"{host}:{port} cannot be listened at: {reason}.", code="cannot-listen") from error


def on_stop_signals(stop: Callable[[], None]) -> None:
    """Call a function in the running event loop on SIGTERM and SIGINT; a second one ends the process."""
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
