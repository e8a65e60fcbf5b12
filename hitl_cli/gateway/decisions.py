"""Decisions in a thread of their own. Those that arrive during the sync of a commit share the next commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.errors import HitlError
from hitl_cli.gateway.batch_thread import BatchThread
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.decision_result import DecisionResult
from hitl_cli.inbox.together import WantedDecision, decide_together

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitl_cli.client.pool import ClientPool
    from hitl_cli.client.protocol import Client
    from hitl_cli.inbox.decide import Said
    from hitl_cli.people.actor import Actor

TOGETHER = 64
"""Decisions in one transaction at most."""


class Decisions(BatchThread[WantedDecision, DecisionResult]):
    """Makes decisions, several at once under load."""

    name = "decisions"

    def __init__(self, open_client: Callable[[], Client], pool: ClientPool) -> None:
        """`pool` makes the decisions that cannot share a commit."""
        super().__init__(open_client)
        self._pool = pool

    async def decide(self, actor: Actor, id: str, said: Said) -> DecisionResult:
        """Do what `Inbox.decide` does for the whole id or key of a request."""
        answer = await self.ask(WantedDecision(actor, id, said))
        if answer is not None:
            return answer[0]
        return await self._pool.run(lambda client: Inbox(client, actor).decide(id, said, whole=True))

    def serve(self, client: Client) -> bool:
        """Make decisions. Raises Unreachable."""
        if not client.capabilities.batch:
            return False
        self.open()
        while asked := self.take():
            for at in range(0, len(asked), TOGETHER):
                some = asked[at : at + TOGETHER]
                try:
                    results = decide_together(client, [one.what for one in some])
                except HitlError as error:
                    self.fail(asked[at:], error)
                    raise
                self.answer(some, [(one,) if isinstance(one, DecisionResult) else one for one in results])
        return True
