"""A proxy that delays all traffic, like a network between a worker and its database.

python -m bench.delay PORT SOCKET MS

It listens on loopback, and connects to a Unix socket. Each direction has the delay. Threads, because the
timers of asyncio are a millisecond coarse.
"""

from __future__ import annotations

import contextlib
import ctypes
import queue
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import msgspec
from psycopg.conninfo import conninfo_to_dict

from bench.peers.http import free_port, until_it_listens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.peer import Running

CHUNK = 1 << 16
PR_SET_TIMERSLACK = 29


@contextlib.contextmanager
def delayed(running: Running, delay_ms: float) -> Iterator[Running]:
    """Return a database as it is seen over such a network."""
    found = conninfo_to_dict(running.config["dsn"])
    port = free_port()
    path = f"{found['host']}/.s.PGSQL.{found.get('port', 5432)}"
    proxy = subprocess.Popen([sys.executable, "-m", "bench.delay", str(port), path, str(delay_ms)])
    try:
        until_it_listens(port, proxy)
        dsn = f"postgresql://{found['user']}@127.0.0.1:{port}/{found['dbname']}"
        yield msgspec.structs.replace(running, config={**running.config, "dsn": dsn})
    finally:
        proxy.kill()
        proxy.wait()


def pass_on(source: socket.socket, to: socket.socket, delay_s: float) -> None:
    """Forward all data of one side."""
    coming: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def send() -> None:
        with contextlib.suppress(OSError):
            while (found := coming.get())[1]:
                time.sleep(max(0.0, found[0] - time.monotonic()))
                to.sendall(found[1])
            to.shutdown(socket.SHUT_WR)

    threading.Thread(target=send, daemon=True).start()
    while True:
        data = b""
        with contextlib.suppress(OSError):
            data = source.recv(CHUNK)
        coming.put((time.monotonic() + delay_s, data))
        if not data:
            return


def main() -> None:
    """Serve until killed."""
    port, path, delay_s = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]) / 1_000
    sys.setswitchinterval(0.0001)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1)  # else each sleep lasts 50 µs longer
    with socket.create_server(("127.0.0.1", port)) as listening:
        while True:
            near, _ = listening.accept()
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            far = socket.socket(socket.AF_UNIX)
            far.connect(path)
            for source, to in ((near, far), (far, near)):
                threading.Thread(target=pass_on, args=(source, to, delay_s), daemon=True).start()


if __name__ == "__main__":
    main()
