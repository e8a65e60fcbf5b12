"""`Hitl` and `AsyncHitl`: ask people, and start runs, from any Python program (docs/guides/python.md)."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any, Unpack, overload

import msgspec
from msgspec import UNSET

from hitl_cli import defaults
from hitl_cli.client.wire import fresh_id
from hitl_cli.errors import RunFailed, TimedOut, Unproven
from hitl_cli.format.canonical_json import check_finite
from hitl_cli.format.durations import Duration, duration_ms
from hitl_cli.format.validation import in_document, located
from hitl_cli.inspected import inspected
from hitl_cli.python_api.async_waits import AsyncWaits
from hitl_cli.python_api.backend import ServerStates, Wanted, backend_of, closed_backend
from hitl_cli.requests.decision import with_place, with_question
from hitl_cli.requests.demand import MOST_ASKED, Demand, OnUnproven, ids_to_ask
from hitl_cli.requests.question import not_askable
from hitl_cli.requests.question_input import QuestionInput, QuestionOptions
from hitl_cli.requests.use import check_usable, consume_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from hitl_cli.client.wire import Json
    from hitl_cli.requests.decision import Decision
    from hitl_cli.requests.question import Priority, ProofKind
    from hitl_cli.runs.run import RunSpec
    from hitl_cli.views.pending import RequestSummaryDocument
    from hitl_cli.views.request import RequestDetailsDocument

PLAIN_DEADLINES = ("expire", "approve", "reject")


class AskOptions(QuestionOptions, total=False):
    """The options of `Hitl.ask` besides the prompt and the form."""

    id: str | None
    callback: str | None


class Hitl:
    """Ask people from any Python program: no workflow and no worker is needed.

        hitl = Hitl()
        decision = hitl.ask("Refund order 7?", to="group:shop", id="refund-7")
        if decision.approved:
            refund(7)

    Where requests are:

    - by default, the server of the settings, as for the commands (by default a file in this folder).
    - `server`: the URL of a Resonate server: `sqlite:///hitl.db`, `http://host`, `postgresql://host/database`;
      `token` is the server's.
    - `gateway`: the URL of a gateway of hitl, such as `https://hitl.example.org`, with a `token` of
      `hitl token create --as agent --can ask`, or HITL_TOKEN.

    `person` is who asks: by default the person of the settings. At a gateway it is the token's person.

    With an `id`, a program that was killed and runs again gets the same request and its answer, instead of
    asking twice. Use one object from as many threads as you like. `AsyncHitl` has the same methods to await.

    Every method raises Unreachable if the server or the gateway cannot be reached.
    """

    def __init__(
        self,
        server: str | None = None,
        *,
        gateway: str | None = None,
        token: str | None = None,
        person: str | None = None,
    ) -> None:
        self._backend = backend_of(server, gateway, token, person)

    @overload
    def ask[T](
        self,
        prompt: str,
        *,
        form: type[T],
        timeout: Duration | None = None,
        on_unproven: OnUnproven = "fail",
        **options: Unpack[AskOptions],
    ) -> Decision[T]: ...
    @overload
    def ask(
        self,
        prompt: str,
        *,
        form: Mapping[str, Any] | None = None,
        timeout: Duration | None = None,
        on_unproven: OnUnproven = "fail",
        **options: Unpack[AskOptions],
    ) -> Decision[Any]: ...
    def ask(
        self,
        prompt: str,
        *,
        form: Any = None,
        timeout: Duration | None = None,
        on_unproven: OnUnproven = "fail",
        **options: Unpack[AskOptions],
    ) -> Decision[Any]:
        """Ask a person, wait for the decision and return it.

            decision = Hitl().ask("Which amount?", form=Refund, to="lead", deadline="2d", id="refund-7")

        The options are those of `ask` in a workflow, and two more. `id`: a call with the same id and content
        finds the same request. `callback`: a URL that gets the decision, signed, if the settings allow its
        host. After `timeout` it raises TimedOut; the request stays open, and `wait` can wait for it again.

        An approval without the required proof raises Unproven. With `on_unproven="ask_again"`, people are
        asked again instead, at most 20 times, with the ids `refund-7-2`, `refund-7-3`, …

        Raises BadInput (not valid), Conflict (the id is of a request with other content).
        """
        ends = _ends_at(timeout)
        for asked in _to_ask(_question_input(prompt, form, options), on_unproven):
            try:
                return self._decided(self._backend.put(asked), form, _left(ends), asked)
            except Unproven as error:
                refused = error
        raise refused

    def put(self, prompt: str, *, form: Any = None, **options: Unpack[AskOptions]) -> str:
        """Create a request without waiting, and return its id.

        Raises BadInput (not valid), Conflict (the id is of a request with other content).
        """
        return self._backend.put(_question_input(prompt, form, options))

    @overload
    def wait[T](
        self,
        id: str,
        *,
        form: type[T],
        timeout: Duration | None = None,
        proof: ProofKind | None = None,
    ) -> Decision[T]: ...
    @overload
    def wait(
        self,
        id: str,
        *,
        form: Mapping[str, Any] | None = None,
        timeout: Duration | None = None,
        proof: ProofKind | None = None,
    ) -> Decision[Any]: ...
    def wait(
        self, id: str, *, form: Any = None, timeout: Duration | None = None, proof: ProofKind | None = None
    ) -> Decision[Any]:
        """Return the decision on a request once it is made. With a type as `form`, its data is of that type.

        With `proof`, an approval must have this proof, even if the stored request does not demand it. Unlike
        `ask`, it cannot check that the request is still the one that was asked.

        The server may restart meanwhile. Raises NotFound; TimedOut after `timeout`; RunFailed if another tool
        has settled the request with an answer that does not fit; Unproven for an approval without the
        required proof.
        """
        return self._decided(id, form, _seconds(timeout), Demand(proof=proof))

    def _decided(
        self, id: str, form: Any, timeout_s: float | None, asked: QuestionInput | Demand
    ) -> Decision[Any]:
        return with_place(_typed(id, form, self._backend.decision(id, timeout_s, asked)), self)

    def consume(self, decision: Decision[Any], *, key: str | None = None) -> Decision[Any]:
        """Use up an approval of a request with `once`, and return it. See Decision.consume."""
        check_usable(decision)
        self._backend.use(decision.id, key or fresh_id())
        return decision

    def answer_back(self, id: str, text: str) -> None:
        """Answer the question that an assignee asked back about a request of yours: `show(id).asked_back`.

        Raises NotFound, NotAllowed (asked by another), Conflict (decided, or nothing was asked back).
        """
        self._backend.answer_back(id, text)

    def take_back(self, id: str) -> Decision[Any]:
        """Cancel a request, and return its decision: canceled, or the one that was made before.

        Raises NotFound, Conflict (it belongs to a run).
        """
        return self._backend.take_back(id)

    def pending(
        self,
        *,
        mine: bool = False,
        to: str | Sequence[str] = (),
        asker: str | None = None,
        workflow: str | None = None,
        tags: Mapping[str, str] | None = None,
        priority: Priority | None = None,
        limit: int = 100,
    ) -> Sequence[RequestSummaryDocument]:
        """Return open requests, oldest first: what `hitl pending --json` prints.

        - `mine`: only requests that you may answer now.
        - `to`: requests with one of these assignees.
        - `asker`: the person who asked, or started the run.
        - `workflow`: a glob for the run or its workflow.
        - `tags`, `priority`: requests that have them.
        """
        return self._backend.pending(_wanted(mine, to, asker, workflow, tags, priority, limit))

    def show(self, id: str) -> RequestDetailsDocument:
        """Return a request: what `hitl show --json` prints. Raises NotFound."""
        return self._backend.show(id)

    def start(
        self,
        workflow: str,
        *args: Json,
        id: str | None = None,
        group: str | None = None,
        deadline: Duration | None = None,
        **kwargs: Json,
    ) -> str:
        """Start a run of a workflow, and return its id. A worker must serve the workflow.

            run = Hitl().start("deploy", "1.4.2", id="deploy-1.4.2")

        A call with the same id and arguments finds the same run. Without an id, it gets a random one.
        `deadline` is how long the run may take (default: 365 days). Raises BadInput, Conflict (a run with
        this id has another workflow or other arguments).
        """
        spec = _run_spec(workflow, args, id, kwargs)
        self._backend.start(spec, group, _life_ms(deadline))
        return spec.id

    def result(self, run: str, *, timeout: Duration | None = None) -> Any:
        """Return the result of a run, as JSON, once it has ended.

        Raises NotFound, RunFailed (it failed, was canceled or expired), TimedOut after `timeout`.
        """
        return _result_of(run, self._backend.ended(run, _seconds(timeout)))

    @property
    def states(self) -> ServerStates:
        """Storage for the states of an agent's runs while people decide, beside the requests.

        Only the asker can read them. A state has at most 4 MiB as stored (through a gateway, 2 MiB).
        """
        return ServerStates(self._backend)

    def close(self) -> None:
        """Close all connections. `with Hitl() as hitl:` does so at the end."""
        backend, self._backend = self._backend, closed_backend(type(self).__name__)
        backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncHitl:
    """Ask people from asyncio: the methods of `Hitl`, to await.

        async with AsyncHitl() as hitl:
            decision = await hitl.ask("Refund order 7?", to="group:shop", id="refund-7")

    A wait can be canceled; the request stays open.
    """

    def __init__(
        self,
        server: str | None = None,
        *,
        gateway: str | None = None,
        token: str | None = None,
        person: str | None = None,
    ) -> None:
        self._backend = backend_of(server, gateway, token, person)
        self._waits = AsyncWaits(self._backend)

    @overload
    async def ask[T](
        self,
        prompt: str,
        *,
        form: type[T],
        timeout: Duration | None = None,
        on_unproven: OnUnproven = "fail",
        **options: Unpack[AskOptions],
    ) -> Decision[T]: ...
    @overload
    async def ask(
        self,
        prompt: str,
        *,
        form: Mapping[str, Any] | None = None,
        timeout: Duration | None = None,
        on_unproven: OnUnproven = "fail",
        **options: Unpack[AskOptions],
    ) -> Decision[Any]: ...
    async def ask(
        self,
        prompt: str,
        *,
        form: Any = None,
        timeout: Duration | None = None,
        on_unproven: OnUnproven = "fail",
        **options: Unpack[AskOptions],
    ) -> Decision[Any]:
        """Ask a person, wait for the decision and return it. See Hitl.ask."""
        ends = _ends_at(timeout)
        for asked in _to_ask(_question_input(prompt, form, options), on_unproven):
            id = await asyncio.to_thread(self._backend.put, asked)
            try:
                return await self._decided(id, form, _left(ends), asked)
            except Unproven as error:
                refused = error
        raise refused

    async def put(self, prompt: str, *, form: Any = None, **options: Unpack[AskOptions]) -> str:
        """Create a request without waiting, and return its id. See Hitl.put."""
        return await asyncio.to_thread(self._backend.put, _question_input(prompt, form, options))

    @overload
    async def wait[T](
        self,
        id: str,
        *,
        form: type[T],
        timeout: Duration | None = None,
        proof: ProofKind | None = None,
    ) -> Decision[T]: ...
    @overload
    async def wait(
        self,
        id: str,
        *,
        form: Mapping[str, Any] | None = None,
        timeout: Duration | None = None,
        proof: ProofKind | None = None,
    ) -> Decision[Any]: ...
    async def wait(
        self, id: str, *, form: Any = None, timeout: Duration | None = None, proof: ProofKind | None = None
    ) -> Decision[Any]:
        """Return the decision on a request once it is made. See Hitl.wait."""
        return await self._decided(id, form, _seconds(timeout), Demand(proof=proof))

    async def _decided(
        self,
        id: str,
        form: Any,
        timeout_s: float | None,
        asked: QuestionInput | Demand,
    ) -> Decision[Any]:
        look = partial(self._backend.decision, asked=asked)
        return with_place(_typed(id, form, await self._waits.until(look, id, timeout_s)), self)

    async def consume(self, decision: Decision[Any], *, key: str | None = None) -> Decision[Any]:
        """Use up an approval of a request with `once`, and return it. See Decision.consume."""
        check_usable(decision)
        await asyncio.to_thread(self._backend.use, decision.id, key or fresh_id())
        return decision

    async def answer_back(self, id: str, text: str) -> None:
        """Answer the question that an assignee asked back. See Hitl.answer_back."""
        await asyncio.to_thread(self._backend.answer_back, id, text)

    async def take_back(self, id: str) -> Decision[Any]:
        """Cancel a request, and return its decision. See Hitl.take_back."""
        return await asyncio.to_thread(self._backend.take_back, id)

    async def pending(
        self,
        *,
        mine: bool = False,
        to: str | Sequence[str] = (),
        asker: str | None = None,
        workflow: str | None = None,
        tags: Mapping[str, str] | None = None,
        priority: Priority | None = None,
        limit: int = 100,
    ) -> Sequence[RequestSummaryDocument]:
        """Return open requests, oldest first. See Hitl.pending."""
        wanted = _wanted(mine, to, asker, workflow, tags, priority, limit)
        return await asyncio.to_thread(self._backend.pending, wanted)

    async def show(self, id: str) -> RequestDetailsDocument:
        """Return a request. See Hitl.show."""
        return await asyncio.to_thread(self._backend.show, id)

    async def start(
        self,
        workflow: str,
        *args: Json,
        id: str | None = None,
        group: str | None = None,
        deadline: Duration | None = None,
        **kwargs: Json,
    ) -> str:
        """Start a run of a workflow, and return its id. See Hitl.start."""
        spec = _run_spec(workflow, args, id, kwargs)
        await asyncio.to_thread(self._backend.start, spec, group, _life_ms(deadline))
        return spec.id

    async def result(self, run: str, *, timeout: Duration | None = None) -> Any:
        """Return the result of a run, as JSON, once it has ended. See Hitl.result."""
        return _result_of(run, await self._waits.until(self._backend.ended, run, _seconds(timeout)))

    @property
    def states(self) -> ServerStates:
        """Storage for the states of an agent's runs. Its calls block. See Hitl.states."""
        return ServerStates(self._backend)

    async def close(self) -> None:
        """Close all connections."""
        backend, self._backend = self._backend, closed_backend(type(self).__name__)
        await self._waits.close()
        await asyncio.to_thread(backend.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


@consume_at.register(Hitl)
@consume_at.register(AsyncHitl)
def _consume_at(place: Hitl | AsyncHitl, decision: Decision[Any], key: str | None) -> Any:
    """Use up an approval, and return it; for an AsyncHitl, return an awaitable."""
    return place.consume(decision, key=key)


# Shared by both classes


def _question_input(prompt: str, form: Any, options: AskOptions) -> QuestionInput:
    """Return the request to create. Raises BadInput."""
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    for name, schema in (("form", form), ("editable", given.get("editable"))):
        if schema is not None and not (name == "editable" and isinstance(schema, bool)):
            from hitl_cli.forms import schema_of

            given[name] = schema_of(schema)
    if "to" in given:
        given["to"] = _names(given["to"])
    for name in {"deadline", "extend", "valid_for"} & given.keys():
        given[name] = f"{duration_ms(given[name])}ms"
    late = given.get("on_deadline", "expire")
    if not (isinstance(late, str) and late in PLAIN_DEADLINES):
        given["on_deadline"] = {"value": late}
    try:
        check_finite(given.get("arguments"))
        asked = msgspec.convert({"prompt": prompt, **given}, inspected(QuestionInput))
        msgspec.json.encode(asked)
    except (msgspec.ValidationError, TypeError, ValueError, RecursionError) as error:
        said = in_document(error, QuestionInput, "argument")
        raise not_askable(f"{said}.", located(error)[0]) from error
    return asked


def _to_ask(asked: QuestionInput, on_unproven: OnUnproven) -> Iterator[QuestionInput]:
    """Yield the request to create, and the next one while approvals have no valid proof. Raises BadInput."""
    if on_unproven not in ("fail", "ask_again"):
        raise not_askable(f'on_unproven={on_unproven!r} must be "fail" or "ask_again".')
    yield asked
    if on_unproven == "ask_again":
        again = repeat(None, MOST_ASKED) if asked.id is None else ids_to_ask(asked.id)
        yield from (msgspec.structs.replace(asked, id=id) for id in islice(again, 1, None))


def _ends_at(timeout: Duration | None) -> float | None:
    """Return when a wait ends, in s of the monotonic clock. Raises BadInput."""
    seconds = _seconds(timeout)
    return None if seconds is None else time.monotonic() + seconds


def _left(ends: float | None) -> float | None:
    """Return the s that are left of a wait."""
    return None if ends is None else max(0.0, ends - time.monotonic())


def _names(names: str | Sequence[str]) -> tuple[str, ...]:
    """Return a name or several as a tuple."""
    return (names,) if isinstance(names, str) else tuple(names)


def _wanted(
    mine: bool,
    to: str | Sequence[str],
    asker: str | None,
    workflow: str | None,
    tags: Mapping[str, str] | None,
    priority: Priority | None,
    limit: int,
) -> Wanted:
    """Return a filter of open requests."""
    return Wanted(
        mine=mine,
        to=_names(to),
        asker=asker,
        workflow=workflow,
        tags=dict(tags or {}),
        priority=priority,
        limit=limit,
    )


def _seconds(timeout: Duration | None) -> float | None:
    """Return a duration in s. Raises BadInput."""
    return None if timeout is None else duration_ms(timeout) / 1_000


def _life_ms(deadline: Duration | None) -> int:
    """Return how long a run may take, in ms. Raises BadInput."""
    return defaults.DEADLINE_MS if deadline is None else duration_ms(deadline)


def _run_spec(workflow: str, args: tuple[Json, ...], id: str | None, kwargs: dict[str, Json]) -> RunSpec:
    """Return the run to start. Without arguments, the workflow gets its id, as from `hitl start`."""
    from hitl_cli.runs.run import RunSpec

    own = f"run-{fresh_id()[:16]}" if id is None else id
    return RunSpec(id=own, workflow=workflow, args=list(args) if args else UNSET, kwargs=kwargs)


def _typed(id: str, form: Any, decision: Decision[Any] | None) -> Decision[Any]:
    """Return a decision with its data as the author's type. Raises TimedOut if there is none."""
    if decision is None:
        raise TimedOut(f"no answer to {id} yet. The request is still open.", code="timed-out")
    if form is None or not decision.approved or decision.data is None:
        return decision
    from hitl_cli.forms import as_form_type

    typed = msgspec.structs.replace(decision, data=as_form_type(form, decision.data))
    return with_question(typed, decision.question)


def _result_of(id: str, run: Any) -> Any:
    """Return the result of a run that has ended. Raises RunFailed, TimedOut."""
    if run is None:
        raise TimedOut(f"the run {id} has not ended yet.", code="timed-out")
    if run.state != "completed":
        raise RunFailed(f"the run {id} {run.state}: {run.error}")
    return run.result
