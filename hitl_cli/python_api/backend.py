"""The calls that `Hitl` makes, on a server or at a gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, Protocol, cast

from msgspec import Struct

from hitl_cli.errors import BadUsage, NotFound
from hitl_cli.requests.question import Priority, not_askable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.client.wire import Json
    from hitl_cli.inbox.deferrals import Deferral, DeferredSession
    from hitl_cli.requests.decision import Decision
    from hitl_cli.requests.demand import Demand
    from hitl_cli.requests.question_input import QuestionInput
    from hitl_cli.runs.run import RunSpec
    from hitl_cli.views.history import HistoryEntryDocument
    from hitl_cli.views.pending import RequestSummaryDocument
    from hitl_cli.views.request import RequestDetailsDocument
    from hitl_cli.views.runs import RunDocument


HISTORY_PAGE = 1_000
"""Decisions to read at once in search of one's own, which may be few among many."""


class Wanted(Struct, frozen=True, kw_only=True):
    """Which open requests to list: see `Hitl.pending`."""

    mine: bool = False
    to: tuple[str, ...] = ()
    asker: str | None = None
    workflow: str | None = None
    tags: dict[str, str] = {}
    priority: Priority | None = None
    limit: int = 100


class Backend(Protocol):
    """Where requests are. All calls block, and may come from any thread. Each may raise Unreachable."""

    looks_for_many: bool
    """Whether `settled` works: one look for many requests."""

    def put(self, asked: QuestionInput) -> str:
        """Create a request, or find the existing one, and return its id. Raises BadInput, Conflict."""

    def decision(
        self, id: str, timeout_s: float | None, asked: QuestionInput | Demand | None = None
    ) -> Decision[Json] | None:
        """Return the decision; None after `timeout_s` seconds. Raises NotFound, also for a key; Unproven.

        `asked` is the question and the demands of the caller; the stored ones are not trusted.
        """

    def use(self, id: str, key: str) -> None:
        """Use up an approval. Raises NotFound, NotCovered (it was used before), BadInput."""

    def answer_back(self, id: str, text: str) -> None:
        """Answer a question that an assignee asked back. Raises NotFound, BadInput, Conflict."""

    def take_back(self, id: str) -> Decision[Json]:
        """Cancel a request, and return the decision: canceled, or an earlier one. Raises NotFound."""

    def pending(self, wanted: Wanted) -> Sequence[RequestSummaryDocument]:
        """Return open requests, oldest first."""

    def show(self, id: str) -> RequestDetailsDocument:
        """Return a request. Raises NotFound."""

    def history(self, limit: int) -> Sequence[HistoryEntryDocument]:
        """Return up to `limit` decisions that the asker may see, newest first."""

    def defer(self, request: str, said: Deferral) -> None:
        """Record that a session ended to wait for a request of the asker. Raises NotFound, BadInput."""

    def deferred(self, host: str) -> Sequence[DeferredSession]:
        """Return the sessions on a machine that wait for requests of the asker."""

    def take_deferred(self, request: str, key: str) -> bool:
        """Claim to resume the session of a request. Returns whether the caller was first. Raises NotFound."""

    def keep_state(self, run: str, state: str) -> None:
        """Store the state of an agent's run, in place of an earlier one. Raises BadName, TooLarge."""

    def kept_state(self, run: str) -> str | None:
        """Return the state of an agent's run; None if there is none."""

    def forget_state(self, run: str) -> None:
        """Delete the state of an agent's run, if there is one."""

    def start(self, spec: RunSpec, group: str | None, deadline_ms: int) -> None:
        """Start a run. Raises BadInput, Conflict."""

    def ended(self, id: str, timeout_s: float | None) -> RunDocument | None:
        """Return a run once it has ended; None after `timeout_s` seconds. Raises NotFound."""

    def settled(self, ids: Sequence[str], timeout_s: float) -> list[str]:
        """Return the requests and runs that have ended or were deleted, once there is one.

        The result is empty after `timeout_s` seconds.
        """

    def close(self) -> None:
        """Close all connections."""


class ServerStates:
    """Keeps the state of each run of an agent on the server, beside the asker's requests.

    Any machine can read it, also through a gateway. The calls block, and may come from any thread.
    """

    def __init__(self, backend: Backend) -> None:
        """`backend` is where the requests are."""
        self._backend = backend

    def load(self, run: str) -> str | None:
        """Return the state of a run; None if there is none. Raises BadName."""
        return self._backend.kept_state(run)

    def save(self, run: str, state: str) -> None:
        """Store the state of a run, in place of an earlier one. Raises BadName, TooLarge."""
        self._backend.keep_state(run, state)

    def forget(self, run: str) -> None:
        """Delete the state of a run, if there is one. Raises BadName."""
        self._backend.forget_state(run)


def check_is_id(name: str, id: str, key: str | None) -> None:
    """Raise NotFound if a request was found by its key, because an asker can choose any key.

    So a program that waits for one request could get the approval of another.
    """
    if id != name == key:
        raise NotFound(f"no request has the id {name!r}: it is the key of {id}.")


def closed(what: str) -> BadUsage:
    """Return the error for what is used after it was closed."""
    return BadUsage(f"this {what} was closed: make a new one.", code="closed")


class _ClosedBackend:
    def __init__(self, what: str) -> None:
        self._what = what

    def __getattr__(self, name: str) -> NoReturn:
        raise closed(self._what)

    def close(self) -> None:
        """Do nothing: it is closed."""


def closed_backend(what: str) -> Backend:
    """Return a backend whose every call raises BadUsage, for what was closed."""
    return cast("Backend", _ClosedBackend(what))


def backend_of(server: str | None, gateway: str | None, token: str | None, person: str | None) -> Backend:
    """Return the backend; arguments that are None come from the settings. Raises BadInput."""
    if gateway is None:
        from hitl_cli.python_api.server_backend import settings_backend

        return settings_backend(server, token, person)
    from hitl_cli.python_api.gateway_backend import GatewayBackend
    from hitl_cli.settings import Settings

    settings = Settings()
    if server is not None or person is not None:
        raise not_askable("a gateway has its own server, and its token is of a person: give neither.")
    return GatewayBackend(gateway, settings.gateway_token(token), settings.groups())
