"""Print the result of a run as an SDK's user gets it: await_result.py DATABASE ID."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from resonate.resonate import Resonate

from hitl_cli.sdk.embedded_connection import EmbeddedConnection


async def main(database: Path, id: str) -> None:
    connection = EmbeddedConnection(
        database, group="readers", pid="reader", room=lambda _: 0, wants=lambda _promise: False
    )
    resonate = Resonate(network=connection, group="readers", pid="reader", env={})
    handle = await resonate.get(id)
    print("listening", flush=True)
    print(json.dumps(await handle.result()), flush=True)
    await resonate.stop()
    connection.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
