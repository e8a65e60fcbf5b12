"""Signals that end a command where it is process 1, as in a container without an init.

The kernel gives process 1 no signal that it does not handle, so SIGTERM would be ignored until the container
is killed. A command that handles the signal by itself (a worker, a server) is left alone.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGHUP)

GRACE_S = 0.8
"""How long a command may take to end, before it is ended: it may wait for a name server, or for a lock."""


def end_on_signals() -> None:
    """Have this process end on SIGTERM and SIGHUP."""
    heard, told = socket.socketpair()
    told.setblocking(False)
    signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_see_that_it_ends, args=(heard, told), daemon=True).start()
    for number in SIGNALS:
        signal.signal(number, end)


def end(number: int, _frame: FrameType | None) -> NoReturn:
    """End this command with the exit code that a shell has for the signal, and leave its blocks in order."""
    logging.disable()  # what was in hand fails now, which is no news
    sys.unraisablehook = lambda _: (
        None
    )  # nor is it where Python drops this exception, and the watchdog ends us
    raise SystemExit(128 + number)


def _see_that_it_ends(heard: socket.socket, _told: socket.socket) -> None:
    """End the process when a signal came whose handler has not: it runs between two steps of Python only."""
    while True:
        for number in heard.recv(16):
            if number in SIGNALS and signal.getsignal(number) is end:
                time.sleep(GRACE_S)
                os._exit(128 + number)
