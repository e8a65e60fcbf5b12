"""A network between hitl and a database that takes its time, or loses an answer: a proxy on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 65_536


class Network:
    """Each byte takes `delay_s` in each direction."""

    def __init__(self, port: int, delay_s: float) -> None:
        self._target = port
        self._delay_s = delay_s
        self._losing: bytes | None = None
        self.lost = 0
        self.asked: list[bytes] = []
        """What clients have sent, block by block."""
        self.port = 0

    def lose(self, word: bytes) -> None:
        """Lose the answer to the next request that contains a word, and the connection with it."""
        self._losing = word

    async def listen(self) -> None:
        """Listen on a port of its own."""
        server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]

    async def _join(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        try:
            far, on = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            back.close()
            return
        doomed = asyncio.Event()
        ways = [
            asyncio.create_task(self._pass_on(near, on, doomed, asks=True)),
            asyncio.create_task(self._pass_on(far, back, doomed, asks=False)),
        ]
        with contextlib.suppress(asyncio.CancelledError):  # the test has ended
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        for writer in (on, back):
            writer.close()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: asyncio.Event, *, asks: bool
    ) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(BLOCK):
                if asks:
                    self.asked.append(data)
                if asks and self._losing is not None and self._losing in data:
                    self._losing = None
                    doomed.set()
                elif not asks and doomed.is_set():
                    self.lost += 1
                    return
                if self._delay_s:
                    loop.call_later(self._delay_s, writer.write, data)
                else:
                    writer.write(data)
        await asyncio.sleep(self._delay_s)


@contextlib.contextmanager
def network(port: int, delay_s: float = 0.0) -> Iterator[Network]:
    """Run one in front of a port."""
    made = Network(port, delay_s)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(made.listen())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield made
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        if left := asyncio.all_tasks(loop):
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.wait(left))
        loop.close()
