"""The measured systems: hitl first, then the peers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.peer import Peer

PEERS = {
    "hitl": "bench.peers.hitl:Hitl",
    "hitl-server": "bench.peers.hitl:HitlServer",
    "hitl-postgres": "bench.peers.hitl_postgres:HitlPostgres",
    "sdk-memory": "bench.peers.memory:Memory",
    "resonate-pg": "bench.peers.resonate_pg:ResonatePg",
    "resonate-server": "bench.peers.resonate_server:ResonateServer",
    "resonate-server-tuned": "bench.peers.resonate_server:TunedResonateServer",
    "dbos-postgres": "bench.peers.dbos:DbosPostgres",
    "dbos-sqlite": "bench.peers.dbos:DbosSqlite",
    "restate": "bench.peers.restate:Restate",
}
"""Where each one's code is: imported in the process that needs it, and nowhere else."""


def peer(key: str) -> Peer:
    """Return a peer by its name on the command line."""
    module, _, name = PEERS[key].partition(":")
    found: Peer = getattr(import_module(module), name)()
    return found
