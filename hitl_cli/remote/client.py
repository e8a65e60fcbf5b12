"""A gateway in place of a server: `Inbox` and `Runs` work; any other use raises an error that says why."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, NoReturn, Protocol

import msgspec
from msgspec import Struct

from hitl_cli.client.gateway_api import GatewayApi
from hitl_cli.client.protocol import Capabilities, Client, Listener
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.errors import NotDone, Unreachable
from hitl_cli.inspected import inspected
from hitl_cli.remote.calls import MOST, PATH, CallRequest, CallResponse, Me, Nothing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.client.protocol import ProtocolRequest, ProtocolResponse
    from hitl_cli.people.actor import Actor
    from hitl_cli.remote.calls import Via

POLL_S = 2.0
"""How often a waiting command looks."""


class RemoteClient(Client):
    """The gateway that a person has signed in to."""

    def __init__(self, gateway: str, token: str, *, program: bool = False) -> None:
        """`gateway` is its URL; for `program` see GatewayApi. Raises BadServer."""
        self.api = GatewayApi(gateway, token, program=program)
        self.name = self.api.url
        self._ahead_ms = 0

    def ask[R](self, name: str, args: Struct, result: type[R], via: Via = "cli") -> R:
        """Return the result of a call. Raises HitlError, as the gateway answered it."""
        raw = self.api.send(
            "POST",
            PATH + name,
            msgspec.Raw,
            body=CallRequest(args=msgspec.Raw(msgspec.json.encode(args)), via=via),
        )
        try:
            answer = msgspec.json.decode(raw, type=inspected(CallResponse[result]))  # type: ignore[valid-type]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Unreachable(
                f"this version of hitl cannot read the response of {self.name} ({error}): install the"
                " gateway's version.",
                code="server-failed",
            ) from error
        self._ahead_ms = answer.now - now_ms()
        return answer.result

    @cached_property
    def me(self) -> Actor:
        """The person at the gateway, with their permissions."""
        return self.ask("me", Nothing(), Me).actor("cli")

    @property
    def capabilities(self) -> Capabilities:
        """Nothing beyond what `Inbox` and `Runs` do."""
        self.needs_server()

    def call_many(self, requests: Sequence[ProtocolRequest]) -> list[ProtocolResponse]:  # noqa: ARG002
        """Raise NotDone: a gateway does not speak the protocol of servers."""
        self.needs_server()

    def needs_server(self, instead: str = "") -> NoReturn:
        """Raise NotDone: a gateway is no server. `instead` says what to do."""
        raise NotDone(
            f"this command needs the server itself, and {self.name} is a gateway."
            f" {instead or "Run it on the server's machine, without -S or with the server's URL."}",
            code="needs-server",
        )

    def wait(self, timeout_s: float) -> None:
        """Sleep until the next look is due."""
        time.sleep(min(timeout_s, POLL_S))

    def now(self) -> int:
        """Return the time at the gateway, in ms since the epoch."""
        return now_ms() + self._ahead_ms

    def has_worker(self, group: str) -> bool | None:
        """Return whether a worker of the group is listening; None if the gateway cannot tell."""
        found = self.listeners()
        return None if found is None else any(one.group == group for one in found)

    def listeners(self) -> list[Listener] | None:
        """Return the workers that are listening; None if the gateway cannot tell."""
        return self.ask("workers", Nothing(), list[Listener] | None)  # type: ignore[arg-type]

    def close(self) -> None:
        """Do nothing: there is no open connection."""


class ReadPage[T](Protocol):
    """Returns at most `limit` entries from a cursor on, and the cursor of the next page."""

    def __call__(self, *, limit: int, after: str | None) -> tuple[Sequence[T], str | None]:
        """Read one page."""
        ...


def read_pages[T](page: ReadPage[T], limit: int | None) -> tuple[list[T], bool]:
    """Return the first `limit` entries of a list, or all, and whether there are more."""
    found: list[T] = []
    after: str | None = None
    while True:
        size = MOST if limit is None else min(limit - len(found), MOST)
        items, after = page(limit=size, after=after)
        found += items
        if after is None or len(found) == limit:
            return found, after is not None
