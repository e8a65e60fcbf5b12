"""`Hitl` on a Resonate server: a file, `hitl server`, PostgreSQL.

Methods import modules when they are called, so that a hook of a coding agent starts quickly.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from hitl_cli import defaults
from hitl_cli.client.connect import check_takes, connect
from hitl_cli.client.protocol import get_promises
from hitl_cli.client.waiting import wait_until
from hitl_cli.errors import TimedOut
from hitl_cli.inbox import Inbox
from hitl_cli.inbox.ask import StandaloneRequest, decision_of
from hitl_cli.inbox.deadlines import settle_overdue
from hitl_cli.people.actor import Actor
from hitl_cli.people.contacts import Directory
from hitl_cli.python_api.backend import HISTORY_PAGE, check_is_id, closed
from hitl_cli.requests.decision import with_question
from hitl_cli.requests.question_input import as_used
from hitl_cli.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hitl_cli.client.protocol import Client
    from hitl_cli.client.wire import Json, Promise
    from hitl_cli.inbox.deferrals import Deferral, DeferredSession
    from hitl_cli.python_api.backend import Wanted
    from hitl_cli.requests.decision import Decision
    from hitl_cli.requests.demand import Demand
    from hitl_cli.requests.question import Question
    from hitl_cli.requests.question_input import QuestionInput
    from hitl_cli.runs.run import RunSpec
    from hitl_cli.views.history import HistoryEntryDocument
    from hitl_cli.views.pending import RequestSummaryDocument
    from hitl_cli.views.request import RequestDetailsDocument
    from hitl_cli.views.runs import RunDocument

VIA = "python"
"""The `via` of actions, for the record."""


class ServerBackend:
    """Requests and runs on a server. Each thread has a client of its own."""

    looks_for_many = True

    def __init__(
        self,
        url: str,
        token: str | None,
        actor: Actor,
        contacts: Callable[[], Directory] = Directory,
        group: str = defaults.GROUP,
    ) -> None:
        """`actor` asks; `group` are the workers that start runs and notify assignees."""
        self._url = url
        self._token = token
        self._actor = actor
        self._contacts = contacts
        self._group = group
        self._own = threading.local()
        self._clients: list[Client] = []
        self._lock = threading.Lock()
        self._closed = False

    def put(self, asked: QuestionInput) -> str:
        """Create a request, and notify its assignees. See Backend."""
        return self.inbox().put(asked, self._contacts(), self._group).id

    def decision(
        self, id: str, timeout_s: float | None, asked: QuestionInput | Demand | None = None
    ) -> Decision[Json] | None:
        """Return the decision. See Backend."""
        inbox = self.inbox()
        item = inbox.find(id, whole=True)
        check_is_id(id, item.id, item.key)
        posted = StandaloneRequest(promise=item.promise, question=item.asked, fresh=False)
        promise = inbox.wait(posted, timeout_s=timeout_s)
        return None if promise.state == "pending" else self._decision_on(promise, item.asked, item.run, asked)

    def use(self, id: str, key: str) -> None:
        """Use up an approval. See Backend."""
        self.inbox().consume(id, key)

    def answer_back(self, id: str, text: str) -> None:
        """Answer a question that was asked back. See Backend."""
        self.inbox().answer_back(id, text, whole=True)

    def take_back(self, id: str) -> Decision[Json]:
        """Cancel a request. See Backend."""
        inbox = self.inbox()
        asked = inbox.asked(id)
        return self._decision_on(inbox.withdraw(asked), asked.question)

    def pending(self, wanted: Wanted) -> Sequence[RequestSummaryDocument]:
        """Return open requests. See Backend."""
        from hitl_cli.inbox.pending import RequestFilter
        from hitl_cli.views.pending import request_summary_document

        inbox = self.inbox()
        only = RequestFilter(
            person=self._actor.person if wanted.mine else None,
            to=wanted.to,
            asker=wanted.asker,
            workflow=wanted.workflow,
            tags=wanted.tags,
            priority=wanted.priority,
        )
        found, _ = inbox.list(only, limit=wanted.limit)
        return [request_summary_document(item, inbox.client.now()) for item in found]

    def show(self, id: str) -> RequestDetailsDocument:
        """Return a request. See Backend."""
        from hitl_cli.views.request import request_details_document

        return request_details_document(self.inbox().show(id, whole=True), self._contacts())

    def history(self, limit: int) -> Sequence[HistoryEntryDocument]:
        """Return decisions. See Backend."""
        from hitl_cli.inbox.history import EVERYTHING
        from hitl_cli.views.history import history_entry_document

        found, _ = self.inbox().history_page(EVERYTHING, limit=HISTORY_PAGE)
        return [history_entry_document(entry) for entry in found[:limit]]

    def defer(self, request: str, said: Deferral) -> None:
        """Record that a session ended to wait for a request. See Backend."""
        self.inbox().defer(request, said)

    def deferred(self, host: str) -> Sequence[DeferredSession]:
        """Return the sessions that wait. See Backend."""
        return self.inbox().deferred(host)

    def take_deferred(self, request: str, key: str) -> bool:
        """Claim to resume a session. See Backend."""
        return self.inbox().take_deferred(request, key)

    def keep_state(self, run: str, state: str) -> None:
        """Store the state of an agent's run. See Backend."""
        self.inbox().keep_state(run, state)

    def kept_state(self, run: str) -> str | None:
        """Return the state of an agent's run. See Backend."""
        return self.inbox().kept_state(run)

    def forget_state(self, run: str) -> None:
        """Delete the state of an agent's run. See Backend."""
        self.inbox().forget_state(run)

    def start(self, spec: RunSpec, group: str | None, deadline_ms: int) -> None:
        """Start a run. See Backend."""
        from hitl_cli.runs import Runs

        runs = Runs(self.client(), self._actor)
        runs.start(spec, group=self._group if group is None else group, deadline_ms=deadline_ms)

    def ended(self, id: str, timeout_s: float | None) -> RunDocument | None:
        """Return a run once it has ended. See Backend."""
        from hitl_cli.runs import Runs
        from hitl_cli.views.runs import run_document

        runs = Runs(self.client(), self._actor)
        run = runs.show(id)
        try:
            ended = runs.wait(run, timeout_s)
        except TimedOut:
            return None
        if ended.kind != "run":
            from hitl_cli.inbox.proof import check_ended

            check_ended(self.client(), ended, self._actor.groups)
        return run_document(ended, self.client().now())

    def settled(self, ids: Sequence[str], timeout_s: float) -> list[str]:
        """Return the requests and runs that have ended or were deleted. See Backend."""
        client = self.client()

        def look() -> list[str] | None:
            read = get_promises(client, ids)
            found = {id: settle_overdue(client, promise) for id, promise in read.items()}
            return [id for id in ids if id not in found or found[id].state != "pending"] or None

        return wait_until(client, look, timeout_s=timeout_s) or []

    def _decision_on(
        self,
        promise: Promise,
        question: Question,
        run: Promise | None = None,
        asked: QuestionInput | Demand | None = None,
    ) -> Decision[Json]:
        """Return the decision on a settled request, with the question. Raises RunFailed, Unproven."""
        decided = decision_of(promise, question, self._actor.groups, run, *as_used(asked))
        return with_question(decided, question)

    def close(self) -> None:
        """Close the clients of all threads. No new one is opened."""
        with self._lock:
            self._closed = True
            for client in self._clients:
                client.close()
            self._clients.clear()

    def inbox(self, actor: Actor | None = None) -> Inbox:
        """Return the requests for an actor, by default the one that asks."""
        return Inbox(self.client(), actor or self._actor)

    def client(self) -> Client:
        """Return this thread's client. Raises BadUsage once the backend is closed."""
        client: Client | None = getattr(self._own, "client", None)
        if self._closed:
            raise closed("connection")
        if client is None:
            client = connect(self._url, self._token)
            self._own.client = client
            with self._lock:
                self._clients.append(client)
        return client


def settings_backend(
    server: str | None, token: str | None, person: str | None, settings: Settings | None = None
) -> ServerBackend:
    """Return a backend; the settings replace arguments of None. Raises BadServer, BadSetting, BadUsage."""
    settings = settings or Settings()
    actor = Actor(person=settings.person(person).value, via=VIA, groups=settings.groups())
    url = settings.server(server).value
    check_takes(url, token)
    return ServerBackend(
        url,
        settings.token(token),
        actor,
        settings.contacts,
        settings.group().value,
    )
