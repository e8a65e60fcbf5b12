"""Ends a command on signals if it is process 1, as in a container without an init.

The kernel does not deliver unhandled signals to process 1, so SIGTERM would be ignored until the container is
killed. A command that handles the signal itself (a worker, a server) is not affected.
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
"""How long a command may take to end before it is killed: it may wait for DNS or for a lock."""


def end_on_signals() -> None:
    """Let SIGTERM and SIGHUP end this process."""
    heard, told = socket.socketpair()
    told.setblocking(False)
    signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_see_that_it_ends, args=(heard, told), daemon=True).start()
    for number in SIGNALS:
        signal.signal(number, end)


def end(number: int, _frame: FrameType | None) -> NoReturn:
    """End this command with the shell's exit code for the signal, after its cleanup."""
    logging.disable()  # requests in progress fail now, which need not be logged
    sys.unraisablehook = lambda _: None  # where Python drops this exception, the watchdog ends the process
    raise SystemExit(128 + number)


def _see_that_it_ends(heard: socket.socket, _told: socket.socket) -> None:
    """End the process if its signal handler does not run: Python may be blocked in a system call."""
    while True:
        for number in heard.recv(16):
            if number in SIGNALS and signal.getsignal(number) is end:
                time.sleep(GRACE_S)
                os._exit(128 + number)
