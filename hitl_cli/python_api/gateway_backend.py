"""`Hitl` at a gateway, through its API (docs/reference/api.md).

Each call opens its own connection, so there is nothing to close, and any thread can call.
"""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from hitl_cli.client.gateway_api import GatewayApi
from hitl_cli.client.waiting import PATIENCE_S
from hitl_cli.client.wire import Vote
from hitl_cli.errors import (
    BadInput,
    NotFound,
    RunFailed,
    Unreachable,
)
from hitl_cli.inbox.ask import decision_of, new_id
from hitl_cli.inbox.proof import check_is_the_same, unproven
from hitl_cli.inspected import inspected
from hitl_cli.people.groups import NO_GROUPS
from hitl_cli.python_api.backend import HISTORY_PAGE, check_is_id
from hitl_cli.requests.decision import Decision, approval_of, check_answer, with_question
from hitl_cli.requests.editable import approved_arguments
from hitl_cli.requests.question import PLAIN, Digest, OnDeadline, Question, question_of
from hitl_cli.requests.question_input import as_used
from hitl_cli.views.agents import DeferralDocument, DeferralsDocument, StateDocument
from hitl_cli.views.history import HistoryPage
from hitl_cli.views.pending import RequestsPage, ThreadEntryDocument
from hitl_cli.views.request import RequestDetailsDocument
from hitl_cli.views.runs import RunDocument

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hitl_cli.client.wire import Json
    from hitl_cli.inbox.deferrals import Deferral, DeferredSession
    from hitl_cli.people.groups import Groups
    from hitl_cli.python_api.backend import Wanted
    from hitl_cli.requests.demand import Demand
    from hitl_cli.requests.question_input import QuestionInput
    from hitl_cli.runs.run import RunSpec
    from hitl_cli.views.history import HistoryEntryDocument
    from hitl_cli.views.pending import RequestSummaryDocument
    from hitl_cli.views.votes import VoteDocument

WAIT_S = 50
"""How long one request waits for a decision: less than the minute after which proxies close it."""

LOOK_S = (0.1, 2.0)
"""The shortest and the longest pause between two looks at a run."""


class GatewayBackend:
    """Requests and runs at a gateway."""

    looks_for_many = False

    def __init__(self, gateway: str, token: str | None, groups: Groups = NO_GROUPS) -> None:
        """`gateway` is its URL. Raises BadServer for one that is not `http(s)://…`.

        `groups` are the people of the local settings. Proof is checked here, with their keys and the local
        policy: the gateway's check is not trusted.
        """
        self._send = GatewayApi(gateway, token, program=True).send
        self._groups = groups
        self._checks = bool(groups.policy or groups.ssh or groups.passkeys)

    def put(self, asked: QuestionInput) -> str:
        """Create a request. See Backend."""
        id = new_id() if asked.id is None else asked.id
        body = msgspec.structs.replace(asked, id=id)  # makes it safe to repeat
        put = self._send("POST", "/requests", RequestDetailsDocument, body=body).id
        check_is_the_same(id, put)
        return put

    def decision(
        self, id: str, timeout_s: float | None, asked: QuestionInput | Demand | None = None
    ) -> Decision[Json] | None:
        """Return the decision. See Backend."""
        groups = self._groups
        demands = bool(groups.policy) or (asked is not None and asked.proof is not None)
        checks = {"stored": "true"} if demands or self._checks else {}

        def look(wait_s: float) -> Decision[Json] | None:
            wait = {"wait": f"{wait_s:.3f}s"} if wait_s >= 0.001 else {}  # noqa: PLR2004 - a millisecond
            path = f"/requests/{quote(id, safe='')}"
            try:
                shown = self._send("GET", path, RequestDetailsDocument, wait | checks, wait_s=wait_s)
            except BadInput as error:
                if error.code != "bad-query" or not checks:
                    raise
                checks.clear()  # the gateway is of an earlier version
                shown = self._send("GET", path, RequestDetailsDocument, wait, wait_s=wait_s)
            check_is_id(id, shown.id, shown.key)
            stored = shown.stored
            if shown.decision is not None and stored is None and demands:
                raise unproven(id, "the gateway does not give what is needed to check it")
            if shown.decision is None or stored is None:
                return _decision_in(shown)
            check_is_the_same(id, stored.promise.id)
            question = question_of(stored.promise) or PLAIN
            decided = decision_of(stored.promise, question, groups, stored.run, *as_used(asked))
            return with_question(decided, question)

        return _until(look, timeout_s, WAIT_S)

    def use(self, id: str, key: str) -> None:
        """Use up an approval. See Backend."""
        self._send("POST", f"/requests/{quote(id, safe='')}/use", RequestDetailsDocument, body={"key": key})

    def answer_back(self, id: str, text: str) -> None:
        """Answer a question that was asked back. See Backend."""
        path = f"/requests/{quote(id, safe='')}/answer-back"
        self._send("POST", path, ThreadEntryDocument, body={"text": text})

    def take_back(self, id: str) -> Decision[Json]:
        """Cancel a request. See Backend."""
        shown = self._send("DELETE", f"/requests/{quote(id, safe='')}", RequestDetailsDocument)
        decision = self.decision(shown.id, 0.0) if self._checks else _decision_in(shown)
        assert decision is not None
        return decision

    def pending(self, wanted: Wanted) -> Sequence[RequestSummaryDocument]:
        """Return open requests. See Backend."""
        named = {"from": wanted.asker, "workflow": wanted.workflow, "priority": wanted.priority}
        query: list[tuple[str, str]] = [(name, value) for name, value in named.items() if value is not None]
        query += [("for", "me")] if wanted.mine else []
        query += [("to", name) for name in wanted.to]
        query += [("tag", f"{name}={value}") for name, value in wanted.tags.items()]
        found: list[RequestSummaryDocument] = []
        cursor: list[tuple[str, str]] = []
        while True:
            limit = [("limit", str(min(wanted.limit - len(found), 1_000)))]
            page = self._send("GET", "/requests", RequestsPage, [*query, *limit, *cursor])
            found += page.items
            if page.next is None or len(found) >= wanted.limit:
                return found
            cursor = [("cursor", page.next)]

    def show(self, id: str) -> RequestDetailsDocument:
        """Return a request. See Backend."""
        return self._send("GET", f"/requests/{quote(id, safe='')}", RequestDetailsDocument)

    def history(self, limit: int) -> Sequence[HistoryEntryDocument]:
        """Return decisions. See Backend."""
        return self._send("GET", "/history", HistoryPage, {"limit": HISTORY_PAGE}).items[:limit]

    def defer(self, request: str, said: Deferral) -> None:
        """Record that a session ended to wait for a request. See Backend."""
        self._send("POST", f"/requests/{quote(request, safe='')}/deferral", DeferralDocument, body=said)

    def deferred(self, host: str) -> Sequence[DeferredSession]:
        """Return the sessions that wait. See Backend."""
        return self._send("GET", "/deferrals", DeferralsDocument, {"host": host}).items

    def take_deferred(self, request: str, key: str) -> bool:
        """Claim to resume a session. See Backend."""
        path = f"/requests/{quote(request, safe='')}/deferral/take"
        return self._send("POST", path, DeferralDocument, body={"key": key}).taken

    def keep_state(self, run: str, state: str) -> None:
        """Store the state of an agent's run. See Backend."""
        self._send("POST", f"/agent-states/{quote(run, safe='')}", StateDocument, body={"state": state})

    def kept_state(self, run: str) -> str | None:
        """Return the state of an agent's run. See Backend."""
        return self._send("GET", f"/agent-states/{quote(run, safe='')}", StateDocument).state

    def forget_state(self, run: str) -> None:
        """Delete the state of an agent's run. See Backend."""
        self._send("DELETE", f"/agent-states/{quote(run, safe='')}", StateDocument)

    def start(self, spec: RunSpec, group: str | None, deadline_ms: int) -> None:
        """Start a run. See Backend."""
        body = msgspec.to_builtins(spec) | {"deadline": f"{deadline_ms}ms"}
        self._send("POST", "/runs", RunDocument, body=body | ({} if group is None else {"group": group}))

    def ended(self, id: str, timeout_s: float | None) -> RunDocument | None:
        """Return a run once it has ended. See Backend."""
        shortest, longest = LOOK_S
        pause = 0.0

        def look(wait_s: float) -> RunDocument | None:
            nonlocal pause
            time.sleep(min(pause, wait_s))
            pause = min(max(pause * 2, shortest), longest)
            run = self._send("GET", f"/runs/{quote(id, safe='')}", RunDocument)
            if run.state == "completed" and run.workflow_name is None and self._checks:
                with suppress(NotFound):  # it is a step
                    self.decision(id, 0.0)
            return run if run.state not in ("running", "waiting") else None

        return _until(look, timeout_s, longest)

    def settled(self, ids: Sequence[str], timeout_s: float) -> list[str]:
        """Not supported at a gateway, where each wait is an HTTP request of its own. See Backend."""
        raise NotImplementedError

    def close(self) -> None:
        """Do nothing: there is no open connection."""


def _until[T](
    look: Callable[[float], T | None],
    timeout_s: float | None,
    longest_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> T | None:
    """Return the first result of `look`, which gets the number of seconds that it may take.

    The first call does not wait, so that an unknown id or a wrong URL is reported at once. Later, the gateway
    may be unreachable for PATIENCE_S, for example while it restarts.
    """
    end = None if timeout_s is None else clock() + timeout_s
    found, heard_at = look(0.0), clock()
    while found is None:
        rest = longest_s if end is None else min(end - clock(), longest_s)
        if rest <= 0:
            return None
        try:
            found, heard_at = look(rest), clock()
        except Unreachable:
            if clock() > heard_at + PATIENCE_S:
                raise
            time.sleep(min(rest, LOOK_S[1]))
    return found


def _decision_in(shown: RequestDetailsDocument) -> Decision[Json] | None:
    """Return the decision on a request, as `decision_on` makes it; None if there is none yet.

    Raises RunFailed for an approval with an invalid answer.
    """
    made = shown.decision
    if made is None:
        return None
    if made.unproven is not None:
        raise unproven(shown.id, made.unproven)
    approved, reason = made.outcome == "approved", made.reason
    question = Question(
        prompt=shown.prompt or "",
        details=shown.details,
        arguments=shown.arguments,
        arguments_digest=shown.arguments_digest,
        editable=shown.editable,
        once=shown.once,
        valid_for=None if shown.valid_for_s is None else round(shown.valid_for_s * 1_000),
        proof=shown.proof,
        form=shown.form,
        choices=shown.choices,
        to=shown.to,
        approvals=shown.approvals,
        approvals_by=shown.approvals_by,
        allow_self=shown.allow_self,
        on_deadline=msgspec.convert(shown.on_deadline, inspected(OnDeadline)),
        priority=shown.priority,
        link=shown.link,
        digest=None if shown.digest is None else msgspec.convert(shown.digest, inspected(Digest)),
    )
    data = made.data if question.editable is None else approved_arguments(question, made.data)
    if approved and not made.deadline:
        try:
            check_answer(shown.id, question, made.choice, data)
        except BadInput as error:
            raise RunFailed(
                f"{shown.id} was settled with an invalid answer: {error}", code="unreadable"
            ) from error
    if not approved and reason is None:
        names = {"canceled": "canceled", "expired": "nobody answered before the deadline"}
        reason = names["expired"] if made.deadline else names.get(made.outcome or "", "rejected")
    at = datetime.fromisoformat(made.at)
    decision: Decision[Json] = Decision(
        id=shown.id,
        approved=approved,
        choice=made.choice,
        data=data if approved else None,
        by=made.by,
        via=made.via,
        at=at,
        comment=made.comment,
        reason=None if approved else reason,
        expired=made.deadline,
        votes=tuple(map(_vote_in, shown.votes_cast)),
        **approval_of(question, at, made.data) if approved else {},
    )
    return with_question(decision, question)


def _vote_in(vote: VoteDocument) -> Vote:
    """Return a vote, with its instant in ms since the epoch."""
    at = round(datetime.fromisoformat(vote.at).timestamp() * 1_000)
    return Vote(**msgspec.structs.asdict(vote) | {"at": at})
