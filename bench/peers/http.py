"""The SDK's worker and client on a server over HTTP, and what starting such a server takes."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from resonate.connections import HttpConnection, SSEConnection

from bench.peer import Missing
from bench.peers.sdk import GROUP, sdk_decider, sdk_worker

if TYPE_CHECKING:
    import subprocess
    from contextlib import AbstractAsyncContextManager

    from bench.peer import Hand, Tally

PATIENCE_S = 60.0
LOOK_S = 0.05


def http_worker(url: str, tally: Tally, pid: str) -> AbstractAsyncContextManager[Hand]:
    """Run the SDK's worker on a server."""
    return sdk_worker(
        HttpConnection(url=url, auth=None),
        SSEConnection(url=url, pid=pid, group=GROUP, auth=None),
        tally,
        pid,
    )


def http_decider(url: str) -> AbstractAsyncContextManager[Hand]:
    """Give the SDK's client on a server."""
    return sdk_decider(HttpConnection(url=url, auth=None))


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process listens on the port. Raises Missing if it ends or takes too long."""
    end = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(LOOK_S)
        else:
            return
    raise Missing("its server did not start")
