"""One process of a peer: a worker, or one that decides. `Child` starts it and asks it to do things.

    python -m bench.process PEER worker|decider CONFIG

Questions and answers are lines of JSON. What the peer prints goes nowhere; the last line of its
stderr is told if it fails.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from bench.peer import COMPLETED, Tally, each
from bench.peers import peer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.peer import Hand


LONGEST_LINE = 1 << 26
"""Bytes of a question: it may name 100,000 runs."""


LAST_S = 10.0
"""How long a peer may take to wind up before its process ends without it."""


class Question(Struct, frozen=True):
    """A task for a process: start, decide or wait for runs."""

    do: Literal["start", "blocked", "completed", "recorded", "counts", "handles", "watch", "decide", "stop"]
    ids: list[str] = []
    count: int = 0


class Answer(Struct, frozen=True):
    """Start and end in s (monotonic, one clock for all processes), and the result."""

    began: float
    ended: float
    handles: list[str] = []
    count: int = 0
    failure: str | None = None


class Child:
    """A process of a peer, seen from the one that measures."""

    def __init__(self, key: str, role: str, config: dict[str, str], patience_s: float) -> None:
        """Start it, and wait until it is ready."""
        self._patience_s = patience_s
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.process", key, role, msgspec.json.encode(config).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
        )
        self.pid = self._process.pid
        self._read()

    def send(self, do: str, ids: Sequence[str] = (), count: int = 0) -> None:
        """Ask for something, without waiting for it."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode({"do": do, "ids": ids, "count": count}) + b"\n")
        self._process.stdin.flush()

    def ask(self, do: str, ids: Sequence[str] = (), count: int = 0) -> Answer:
        """Ask for something, and return the answer. Raises TimeoutError, RuntimeError."""
        self.send(do, ids, count)
        return self.answer()

    def answer(self) -> Answer:
        """Return the answer to what was sent. Raises TimeoutError, RuntimeError."""
        answer = msgspec.json.decode(self._read(), type=Answer)
        if answer.failure:
            raise RuntimeError(answer.failure)
        return answer

    def _read(self) -> bytes:
        assert self._process.stdout is not None
        late = threading.Timer(self._patience_s, self._process.kill)
        late.start()
        try:
            line = self._process.stdout.readline()
        finally:
            late.cancel()
        if not line:
            self._process.wait()
            raise TimeoutError(f"took longer than {self._patience_s:.0f} s, or ended{self._last_words()}")
        return line

    def _last_words(self) -> str:
        """Return the last line that the peer wrote to stderr, if it wrote any."""
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return f" ({lines[-1][:200]})" if lines else ""

    def close(self) -> None:
        """Let it end, and see that it does."""
        try:
            self.send("stop")
            self._process.wait(timeout=2 * LAST_S)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._said.close()


async def serve(key: str, role: str, config: dict[str, str], answers: int) -> None:
    """Answer questions from stdin until told to stop."""
    tally = Tally()
    chosen = peer(key)
    hand = chosen.worker(config, tally, f"w{os.getpid()}") if role == "worker" else chosen.decider(config)
    async with hand as driven:
        questions = asyncio.StreamReader(limit=LONGEST_LINE)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(questions), sys.stdin
        )
        os.write(answers, b"ready\n")
        while (line := await questions.readline()) and (question := asked(line)).do != "stop":
            try:
                answer = await act(driven, tally, question)
            except Exception as error:  # noqa: BLE001 - told to the one that measures
                answer = Answer(0, 0, failure=f"{type(error).__name__}: {error}")
            reply = memoryview(msgspec.json.encode(answer) + b"\n")
            while reply:
                reply = reply[os.write(answers, reply) :]
        late = threading.Timer(LAST_S, os._exit, [0])
        late.daemon = True
        late.start()


def asked(line: bytes) -> Question:
    """Return a question from its line."""
    return msgspec.json.decode(line, type=Question)


async def act(hand: Hand, tally: Tally, question: Question) -> Answer:
    """Do the task."""
    ids = question.ids
    began = time.monotonic()
    match question.do:
        case "start":
            await each(ids, hand.start)
        case "decide":
            await each(ids, lambda id: hand.decide(hand.handle(id)))
        case "watch":
            await each(ids, hand.watch)
        case "handles":
            return Answer(began, began, handles=[hand.handle(id) for id in ids])
        case "counts":
            return Answer(began, tally.last[ids[0]], count=tally.counts[ids[0]])
        case "blocked" | "completed":
            return Answer(began, await tally.reaches(question.do, question.count))
        case "recorded":
            await hand.recorded(question.count)
            return Answer(began, tally.last[COMPLETED])
    return Answer(began, time.monotonic())


def main() -> None:
    """Run the process."""
    key, role, config = sys.argv[1:]
    answers = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    asyncio.run(serve(key, role, msgspec.json.decode(config, type=dict[str, str]), answers))


if __name__ == "__main__":
    main()
