"""Messages posted to http(s):// addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.engine.server import FAR

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hitl_cli.engine.doorbell import Bell
    from hitl_cli.engine.store import Transaction
    from hitl_cli.engine.turns import Turns


class Pusher:
    due = FAR

    def __init__(self, turns: Callable[[], Turns], push_to: Sequence[str] | None) -> None: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def waiting(self, now: int) -> bool:
        return False

    def hand_out(self, tx: Transaction) -> None: ...
    def commit(self, offered: set[str]) -> tuple[int, int]:
        return 0, 0

    def rung(self, bell: Bell | None) -> None: ...
