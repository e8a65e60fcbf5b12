"""What all peers have in common that are driven by the Resonate SDK: only the connection differs."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from resonate.codec import Codec, NoopEncryptor
from resonate.observability import noop_observer
from resonate.promises import Promises
from resonate.resonate import Resonate
from resonate.send import Sender
from resonate.transport import Transport
from resonate.types import PromiseCreateReq, Value

from bench import flows
from bench.peer import BLOCKED, COMPLETED
from hitl_cli.client.protocol import OK, read
from hitl_cli.runs.run import RunSpec, create_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from resonate_base import Network, Source

    from bench.peer import Tally

GROUP = "default"
DAY_MS = 86_400_000
SUSPEND = '{"kind":"task.suspend"'
FULFILL = '{"kind":"task.fulfill"'


class SdkHand:
    """Starts runs and decides them through the SDK's client of promises."""

    def __init__(self, promises: Promises, tally: Tally | None = None) -> None:
        self._promises = promises
        self._tally = tally
        self.workflow, self.waits_for = "decided", "1"

    async def start(self, id: str) -> None:
        """Start a run, as `hitl start` does."""
        until = int(time.time() * 1_000) + DAY_MS
        data = create_request(RunSpec(id=id, workflow=self.workflow), GROUP, until, "bench").data
        request = PromiseCreateReq(id=id, timeout_at=until, param=data["param"], tags=data["tags"])
        await self._promises.sender.promise_create(request)

    async def decide(self, handle: str) -> None:
        """Resolve the promise that a run waits for."""
        await self._promises.resolve(f"{handle}:{self.waits_for}", Value(data=True))

    def handle(self, id: str) -> str:
        """Return the run's id."""
        return id

    async def watch(self, id: str) -> None:
        """Do nothing: each end is seen."""

    async def recorded(self, count: int) -> None:
        """Return once that many ends have been recorded by the server."""
        assert self._tally is not None
        await self._tally.reaches(COMPLETED, count)


class Counting:
    """A network that counts suspensions and ends, once the server has granted them."""

    def __init__(self, network: Network, tally: Tally) -> None:
        self._network = network
        self._tally = tally

    async def start(self) -> None:
        """Start the network."""
        await self._network.start()

    async def stop(self) -> None:
        """Stop the network."""
        await self._network.stop()

    async def send(self, req: str, headers: dict[str, str] | None = None) -> str:
        """Pass a request on."""
        answer = await self._network.send(req, headers)
        for kind, what in ((SUSPEND, BLOCKED), (FULFILL, COMPLETED)):
            if req.startswith(kind) and read(answer).status == OK:
                self._tally.add(what)
        return answer


@contextlib.asynccontextmanager
async def sdk_worker(network: Network, source: Source, tally: Tally, pid: str) -> AsyncIterator[SdkHand]:
    """Run the SDK's worker as it ships on a connection."""
    resonate = Resonate(
        network=Counting(network, tally), sources=[source], group=GROUP, pid=pid, env={}, autostart=False
    )
    resonate.register(flows.decided, name="decided")
    resonate.start()
    try:
        yield SdkHand(resonate.promises, tally)
    finally:
        await resonate.stop()


@contextlib.asynccontextmanager
async def sdk_decider(network: Network) -> AsyncIterator[SdkHand]:
    """Give the SDK's client of promises on a connection, without a worker."""
    await network.start()
    try:
        sender = Sender(Transport(network), None, observer=noop_observer)
        yield SdkHand(Promises(sender, Codec(NoopEncryptor())))
    finally:
        await network.stop()
