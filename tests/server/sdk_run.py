"""Runs workflows as an SDK's user does, over HTTP: sdk_run.py URL [TOKEN]. Prints the results."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import timedelta

from resonate.resonate import Resonate

from hitl_cli.worker.loader import register_app
from tests.apps import features


async def main(url: str, token: str | None) -> None:
    resonate = Resonate(url=url, token=token, group="default", env={}, ttl=timedelta(seconds=5))
    register_app("features", features, resonate)
    asks = resonate.run("asks", features.asks)
    print("asking", flush=True)
    results = [
        await resonate.run("runs", features.runs, 2, 3).result(),
        await resonate.rpc("calls", "calls", 21).result(),
        await resonate.run("sleeps", features.sleeps, 0.2).result(),
        await resonate.run("counts", features.counts, 20).result(),
        await asks.result(),
    ]
    print(json.dumps(results), flush=True)
    await resonate.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None))
