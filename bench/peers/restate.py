"""Restate: a server of its own (from npm), a worker that it calls, and an awakeable for the decision."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

import aiohttp

from bench.peer import BLOCKED, COMPLETED, IN_FLIGHT, Missing, Peer, Running
from bench.peers.http import free_port, until_it_listens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from bench.peer import Hand, Options, Tally

PACKAGE = "@restatedev/restate-server"
LOOK_S = 0.02
UNFINISHED = "SELECT count(*) AS n FROM sys_invocation WHERE status <> 'completed'"


class RestateHand:
    """Starts runs and resolves awakeables, all over HTTP."""

    def __init__(self, session: aiohttp.ClientSession, config: dict[str, str], tally: Tally | None) -> None:
        self.awakeables: dict[str, str] = {}
        self._session = session
        self._ingress = config["ingress"]
        self._admin = config["admin"]
        self._tally = tally
        self._invocations: dict[str, str] = {}
        self._watched: set[asyncio.Task[None]] = set()

    async def _post(self, url: str, body: object) -> Any:
        headers = {"accept": "application/json"}
        async with self._session.post(url, json=body, headers=headers) as answer:
            answer.raise_for_status()
            return await answer.json() if answer.content_type == "application/json" else None

    async def start(self, id: str) -> None:
        """Send an invocation."""
        sent = await self._post(f"{self._ingress}/bench/decided/send", id)
        self._invocations[id] = sent["invocationId"]

    async def decide(self, handle: str) -> None:
        """Resolve an awakeable."""
        await self._post(f"{self._ingress}/restate/awakeables/{handle}/resolve", True)

    def handle(self, id: str) -> str:
        """Return the awakeable that a run waits for; one that decides elsewhere is given it as it is."""
        return self.awakeables.get(id, id)

    async def watch(self, id: str) -> None:
        """Attach to a run, so that its end is known in the moment that the server has recorded it."""

        async def attached() -> None:
            async with self._session.get(
                f"{self._ingress}/restate/invocation/{self._invocations[id]}/attach"
            ) as answer:
                await answer.read()
            assert self._tally is not None
            self._tally.add(COMPLETED)

        task = asyncio.create_task(attached())
        self._watched.add(task)
        task.add_done_callback(self._watched.discard)
        await asyncio.sleep(LOOK_S)

    async def _unfinished(self) -> int:
        answer = await self._post(f"{self._admin}/query", {"query": UNFINISHED})
        return int(answer["rows"][0]["n"])

    async def recorded(self, count: int) -> None:
        """Ask the server until no run is left, and count all as completed."""
        assert self._tally is not None
        while await self._unfinished():  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(LOOK_S)
        self._tally.last[COMPLETED] = time.monotonic()
        self._tally.counts[COMPLETED] = count


class Restate(Peer):
    """One server, one worker: a second worker would need a balancer before the two."""

    name = "Restate"
    syncs = "every commit (RocksDB log)"
    workers = 1
    sizes = 10_000

    @contextlib.contextmanager
    def serve(self, folder: Path, options: Options) -> Iterator[Running]:
        """Run the server, installing it where it is not yet."""
        try:
            import hypercorn  # noqa: F401
            import restate  # noqa: F401
        except ImportError as error:
            raise Missing(f"{error.name} is not installed") from error
        program = installed(options.npm_folder)
        ingress, admin = free_port(), free_port()
        server = subprocess.Popen(
            [
                program,
                *("--no-logo", "--listen-mode", "tcp", "--bind-ip", "127.0.0.1"),
                *("--bind-port", str(free_port()), "--base-dir", str(folder), "--node-name", "bench"),
            ],
            env={
                **os.environ,
                "RESTATE_DISABLE_TELEMETRY": "true",
                "RESTATE_INGRESS__BIND_PORT": str(ingress),
                "RESTATE_ADMIN__BIND_PORT": str(admin),
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            until_it_listens(ingress, server)
            until_it_listens(admin, server)
            yield Running(
                {"ingress": f"http://127.0.0.1:{ingress}", "admin": f"http://127.0.0.1:{admin}"},
                (server.pid,),
                folder,
            )
        finally:
            server.terminate()
            server.wait()

    @contextlib.asynccontextmanager
    async def worker(self, config: dict[str, str], tally: Tally, pid: str) -> AsyncIterator[Hand]:
        """Serve the workflow over HTTP/2, and tell the server where."""
        del pid
        import hypercorn
        import hypercorn.asyncio
        import restate

        async with self.decider(config) as hand:
            assert isinstance(hand, RestateHand)
            hand._tally = tally
            service = restate.Service("bench")

            async def decided(ctx: Any, id: str) -> object:
                awakeable, decision = ctx.awakeable()
                hand.awakeables[id] = awakeable
                tally.add(BLOCKED)
                return await ctx.run_typed("step", lambda value: value, restate.RunOptions(), await decision)

            service.handler()(decided)
            port = free_port()
            settings = hypercorn.Config()
            settings.bind = [f"127.0.0.1:{port}"]
            settings.loglevel = "ERROR"
            serving = asyncio.create_task(
                hypercorn.asyncio.serve(
                    restate.app([service]), settings, shutdown_trigger=asyncio.Event().wait, mode="asgi"
                )
            )
            while not await listens(port):  # noqa: ASYNC110 - it is another library's to listen
                await asyncio.sleep(LOOK_S)
            await hand._post(f"{config['admin']}/deployments", {"uri": f"http://127.0.0.1:{port}"})
            yield hand
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving

    @contextlib.asynccontextmanager
    async def decider(self, config: dict[str, str]) -> AsyncIterator[Hand]:
        """Give what resolves awakeables."""
        connector = aiohttp.TCPConnector(limit=2 * IN_FLIGHT)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(None)) as session:
            yield RestateHand(session, config, None)


async def listens(port: int) -> bool:
    """Whether a process listens on the port."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def installed(folder: Path) -> Path:
    """Return the server's program, got from npm where it is not there yet. Raises Missing."""
    program = folder / "node_modules" / ".bin" / "restate-server"
    if not program.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise Missing("its server comes from npm, which is not installed")
        got = subprocess.run(
            [npm, "install", "--ignore-scripts", "--no-audit", "--prefix", str(folder), PACKAGE],
            capture_output=True,
            text=True,
            check=False,
        )
        if not program.exists():
            raise Missing(f"npm could not install {PACKAGE}: {got.stderr.strip().splitlines()[-1:]}")
    for native in folder.glob("node_modules/@restatedev/restate-server-*/bin/restate-server"):
        return native
    return program
