"""Requests that were made and answered in the past, as any tool that speaks the protocol would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import msgspec

from hitl_cli.client.protocol import ProtocolRequest
from hitl_cli.client.wire import Audit, encode, error_value
from hitl_cli.engine.wall_clock import now_ms
from hitl_cli.people.actor import Actor
from hitl_cli.requests.question import Question
from hitl_cli.runs import Runs
from hitl_cli.runs.run import RunSpec

if TYPE_CHECKING:
    from hitl_cli.client.protocol import Client
    from tests.conftest import Hitl

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
OPEN = {"resonate:external": "true"}


class Past:
    """A client of the test's server whose clock the test moves on, from some time ago."""

    def __init__(self, hitl: Hitl, ago_ms: int) -> None:
        self.now = now_ms() - ago_ms
        self._client: Client = hitl.client(lambda: self.now)

    @property
    def client(self) -> Client:
        """The client itself, for what people say."""
        return self._client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def send(self, kind: str, **data: Any) -> None:
        """Send one request, which must succeed."""
        [answer] = self._client.call_many([ProtocolRequest(kind, data)])
        assert answer.status == 200, answer.message()

    def plain(self, id: str, life_ms: int = 365 * DAY_MS, tags: dict[str, str] | None = None) -> None:
        """Create a promise that says nothing."""
        self.send("promise.create", id=id, timeoutAt=self.now + life_ms, tags=OPEN if tags is None else tags)

    def run(self, id: str, function: str = "deploy", *args: Any, by: str = "ops") -> None:
        """Start a run, which nobody works on."""
        runs = Runs(self._client, Actor(person=by, via="test"))
        runs.start(RunSpec(id=id, workflow=function, args=list(args)))

    def step(self, id: str, parent: str, function: str | None = None, result: Any = None) -> None:
        """Create a step of a run, which is done."""
        origin = id.partition(":")[0]
        tags = {f"resonate:{name}": id for name in ("branch",)} | {"resonate:scope": "local"}
        tags |= {"resonate:origin": origin, "resonate:parent": parent}
        param = encode(None if function is None else {"func": function, "args": [], "kwargs": {}})
        self.send("promise.create", id=id, timeoutAt=self.now + DAY_MS, tags=tags, param=param)
        self.approve(id, by=None, data=result)

    def ask(
        self, id: str, prompt: str, *, life_ms: int = 365 * DAY_MS, key: str | None = None, **asked: Any
    ) -> None:
        """Create a request of the function `deploy`."""
        question = Question(prompt=prompt, **asked)
        param = encode(msgspec.to_builtins(question))
        tags = OPEN | question.tags(key=key, workflow="deploy") | {"resonate:origin": id.partition(":")[0]}
        self.send("promise.create", id=id, timeoutAt=self.now + life_ms, tags=tags, param=param)

    def approve(self, id: str, by: str | None = "ada", data: Any = True, **told: Any) -> None:
        """Settle with data, as hitl does, or without a record, as other tools do."""
        self.send("promise.settle", id=id, state="resolved", value=encode(data, self._headers(by, told)))

    def reject(self, id: str, by: str | None = "ada", reason: str = "no", **told: Any) -> None:
        """Settle with a reason."""
        value = error_value(reason, self._headers(by, told))
        self.send("promise.settle", id=id, state=told.pop("state", "rejected"), value=value)

    def _headers(self, by: str | None, told: dict[str, Any]) -> dict[str, str] | None:
        if by is None:
            return None
        named = {name: value for name, value in told.items() if name != "state"}
        return msgspec.convert({"by": by, "via": "web", "at": self.now} | named, Audit).headers()
