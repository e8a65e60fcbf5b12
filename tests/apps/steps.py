"""Workflows whose steps leave a trace, so that a test can tell how often each one ran, where and when.

A step appends a line to the file that STEPS_LOG names before it does anything else. Some then wait
at a gate: until the file that STEPS_GATE names exists.
"""

import asyncio
import os
import time
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
from resonate.context import Context

from hitl_cli.authoring.workflow import workflow

STEPS_LOG = "STEPS_LOG"
STEPS_GATE = "STEPS_GATE"

LOOK_S = 0.01


class Line(msgspec.Struct, frozen=True):
    """One attempt at a step. `at` is ms since the epoch; `mark` is what no other attempt has."""

    run: str
    step: str
    pid: int
    at: int
    mark: str


def note(run: str, step: str) -> str:
    """Append a line that survives whatever happens next, and return its mark."""
    line = Line(run, step, os.getpid(), time.time_ns() // 1_000_000, uuid.uuid4().hex)
    # One write to a file opened for appending: lines of several processes do not mix.
    log = os.open(os.environ[STEPS_LOG], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(log, msgspec.json.encode(line) + b"\n")
        os.fsync(log)
    finally:
        os.close(log)
    return line.mark


def read_lines(path: Path) -> list[Line]:
    """Return the lines so far, in the order in which they were written."""
    text = path.read_bytes() if path.exists() else b""
    return [msgspec.json.decode(line, type=Line) for line in text.splitlines()]


def opened() -> bool:
    return Path(os.environ[STEPS_GATE]).exists()


def step(_ctx: Context, run: str, name: str) -> str:
    return note(run, name)


async def gated(_ctx: Context, run: str, name: str) -> str:
    mark = note(run, name)
    while not opened():  # noqa: ASYNC110 - another process opens it
        await asyncio.sleep(LOOK_S)
    return mark


def stuck(_ctx: Context, run: str, name: str) -> str:
    """Block the whole event loop until the gate opens."""
    mark = note(run, name)
    while not opened():
        time.sleep(LOOK_S)
    return mark


def slow(_ctx: Context, run: str, name: str, seconds: float) -> str:
    """Block the whole event loop for a time."""
    mark = note(run, name)
    time.sleep(seconds)
    return mark


async def brief(_ctx: Context, run: str, name: str) -> str:
    mark = note(run, name)
    await asyncio.sleep(LOOK_S)
    return mark


@workflow
async def gate_in_the_middle(ctx: Context, run: str) -> list[str]:
    """Five steps; the third waits at the gate."""
    marks = [await ctx.run(step, run, "1"), await ctx.run(step, run, "2")]
    marks.append(await ctx.run(gated, run, "3"))
    return [*marks, await ctx.run(step, run, "4"), await ctx.run(step, run, "5")]


@workflow
async def stuck_in_the_middle(ctx: Context, run: str) -> list[str]:
    """The same, but the third step blocks its worker's event loop."""
    marks = [await ctx.run(step, run, "1"), await ctx.run(step, run, "2")]
    marks.append(await ctx.run(stuck, run, "3"))
    return [*marks, await ctx.run(step, run, "4"), await ctx.run(step, run, "5")]


@workflow
async def slow_in_the_middle(ctx: Context, run: str, seconds: float) -> list[str]:
    """Three steps; the second blocks its worker's event loop for a time."""
    marks = [await ctx.run(step, run, "1")]
    marks.append(await ctx.run(slow, run, "2", seconds))
    return [*marks, await ctx.run(step, run, "3")]


@workflow
async def before_and_after(ctx: Context, run: str) -> dict[str, Any]:
    """Steps, a decision and steps; a rejection is a result like any other."""
    before = [await ctx.run(brief, run, name) for name in ("1", "2", "3")]
    answer: dict[str, Any]
    try:
        answer = {"approved": await ctx.promise(timeout=timedelta(days=1))}
    except Exception as error:  # noqa: BLE001 - what a rejection raises is told by its message
        answer = {"rejected": str(error)}
    after = [await ctx.run(brief, run, name) for name in ("5", "6", "7")]
    return {"marks": [*before, *after], "answer": answer}
