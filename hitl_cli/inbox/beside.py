"""Records that lists read together with requests: questions asked back, claims, and absences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitl_cli.client.protocol import PAGE, ProtocolRequest, as_page, search, search_beside
from hitl_cli.client.tags import ASKED_BACK_TAG, CLAIM_TAG
from hitl_cli.inbox.thread import NO_THREADS, open_questions_in
from hitl_cli.people.away import AWAY_TAG, keep_aways, times_said
from hitl_cli.requests.amendments import claims_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hitl_cli.client.protocol import Client, Page
    from hitl_cli.client.wire import Promise
    from hitl_cli.inbox.thread import ThreadEntry
    from hitl_cli.requests.amendments import Amendment

_TAGS = (ASKED_BACK_TAG, CLAIM_TAG, AWAY_TAG)
"""Each is on promises that are pending as long as they count."""

NO_CLAIMS: Mapping[str, Amendment] = {}


class Beside:
    """The records for the requests of a list. They are read once, in one round trip with the first page."""

    def __init__(
        self,
        client: Client,
        back: Mapping[str, ThreadEntry] = NO_THREADS,
        claims: Mapping[str, Amendment] = NO_CLAIMS,
    ) -> None:
        """`back` and `claims` are given if they are already known."""
        self._client = client
        self._is_read = False
        self.back = back
        self.claims = claims

    def page(self, size: int, cursor: str | None, **query: object) -> Page:
        """Return what `search_page` does."""
        query |= {"limit": min(size, PAGE)} | ({"cursor": cursor} if cursor else {})
        wanted = () if self._is_read else [{"state": "pending", "tags": {tag: "1"}} for tag in _TAGS]
        said = times_said()
        found, [answer] = search_beside(self._client, wanted, [ProtocolRequest("promise.search", query)])
        if found:
            self._keep(found, said)
        return as_page(answer)

    def pending(self) -> list[Promise]:
        """Return all pending promises, for a server that reads all promises at each search."""
        said = times_said()
        every = search(self._client, state="pending")
        self._keep([[promise for promise in every if promise.tags.get(tag) == "1"] for tag in _TAGS], said)
        return every

    def _keep(self, found: Sequence[Sequence[Promise]], said: int) -> None:
        asked_back, claims, away = found
        self.back = open_questions_in(self._client, asked_back)
        self.claims = claims_in(claims, self._client.now())
        keep_aways(self._client, away, said)
        self._is_read = True
