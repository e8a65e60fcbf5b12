"""The client's side of the Resonate protocol, with typed requests, for any kind of server.

`connect` returns a client for a URL. Nothing here depends on the kind of server.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self

import msgspec
from msgspec import Struct

from hitl_cli.client.wire import Promise, Task, check_size
from hitl_cli.engine.records import Value
from hitl_cli.errors import BadInput, Conflict, HitlError, NotFound, Unreachable
from hitl_cli.inspected import inspected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

PAGE = 1_000
"""Records in one page when a whole list is read."""

OK = 200
BAD_REQUEST = 400
NO_SUCH = 404
UNAUTHORIZED = (401, 403)

PROBE = "hitl-probe"
"""The id of a promise that does not exist."""

_REFUSED_ID = "must be prefixed by resonate:"
"""A Resonate Server's words for an id that does not begin with its origin and a dot."""


class ProtocolRequest(Struct, frozen=True):
    """One request of the protocol: its kind and its data."""

    kind: str
    data: dict[str, Any]

    def __post_init__(self) -> None:
        """Raise TooLarge for a payload that no server stores. HTTP servers may just hang up."""
        for name in ("param", "value", "promiseParam"):
            if isinstance(value := self.data.get(name), Value):
                check_size(self.data["id"], value)


class ProtocolResponse(Struct, frozen=True):
    """A response: the status, the undecoded data, and the server's capabilities if it names them."""

    status: int
    data: msgspec.Raw
    capabilities: tuple[str, ...] | None = None

    def message(self) -> str:
        """Return the message of an error."""
        try:
            return msgspec.json.decode(self.data, type=str)
        except msgspec.DecodeError:
            return f"status {self.status}"


class Capabilities(Struct, frozen=True, kw_only=True):
    """What a server can do beyond the protocol; a plain Resonate server has none of these.

    - `sort`: promise.search accepts `sort` and `settledSince`.
    - `root`: it accepts `root`, which lists runs only.
    - `prefix`: it accepts `idPrefix`.
    - `open`: the tag `resonate:external` finds every promise that only the outside can settle.
    - `order`: a search returns promises in the order of creation.
    - `after`: it accepts `after`.
    - `batch`: one call is one transaction, so that small calls gain by being sent together.
    - `serial`: it batches, a later commit has no earlier time, and `Client.version` is exact.
    - `ring`: `Client.wait` returns at once when another process commits.
    - `tells`: `Client.told` returns the id of each request, vote and comment that changed, after the commit.
    """

    sort: bool = False
    root: bool = False
    prefix: bool = False
    open: bool = False
    order: bool = False
    after: bool = False
    batch: bool = False
    serial: bool = False
    ring: bool = False
    tells: bool = False

    @property
    def plain(self) -> bool:
        """Whether it is a plain Resonate Server, which settles an overdue promise only when it is read."""
        return not self.order


def capabilities_named(names: Iterable[str]) -> Capabilities:
    """Return the capabilities with these names; unknown names, of a newer server, are ignored."""
    return Capabilities(**{name: True for name in names if name in Capabilities.__struct_fields__})


class Listener(Struct, frozen=True):
    """A worker that is listening. `workflows` is None if it is not known what it serves."""

    group: str
    workflows: tuple[str, ...] | None = None


class Client(ABC):
    """What commands need from a server. All calls block; do not call them in an event loop."""

    name: str
    """The server's URL, without secrets."""

    @cached_property
    def kept(self) -> dict[str, Any]:
        """What modules cache about the server for the life of the client, each under its own key."""
        return {}

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What the server can do beyond the protocol. Raises Unreachable."""

    @abstractmethod
    def call_many(self, requests: Sequence[ProtocolRequest]) -> list[ProtocolResponse]:
        """Return the responses to the requests, in order. Raises Unreachable."""

    @abstractmethod
    def wait(self, timeout_s: float) -> None:
        """Return when something may have changed, or after `timeout_s` seconds."""

    def version(self) -> int | None:
        """Return a number that changes when another process changes something; None if unknown.

        Raises Unreachable.
        """
        return None

    def told(self) -> list[str] | None:
        """Return the ids of changed promises that the server has sent since the last call; None after a gap.

        Most servers send none. Raises Unreachable.
        """
        return []

    def fire_due(self) -> None:
        """Settle promises past their deadline, if the server does not do so by itself. Raises Unreachable."""
        return

    @abstractmethod
    def now(self) -> int:
        """Return the current time in ms since the epoch."""

    @abstractmethod
    def has_worker(self, group: str) -> bool | None:
        """Return whether a worker of the group is listening; None if the server cannot tell."""

    def listeners(self) -> list[Listener] | None:
        """Return the workers that are listening; None if the server cannot tell."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Close the connection to the server."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Head(Struct, frozen=True):
    status: int = 200
    capabilities: tuple[str, ...] | None = None


class _Response(Struct, frozen=True):
    head: _Head = _Head()
    data: msgspec.Raw = msgspec.Raw(b"{}")


class _PromiseData(Struct, frozen=True):
    promise: Promise


class _TaskData(Struct, frozen=True):
    task: Task


class Page(Struct, frozen=True):
    """A page of promises, and the cursor of the next one."""

    promises: list[Promise]
    cursor: str | None = None


class _Tasks(Struct, frozen=True):
    """A page of tasks."""

    tasks: list[Task]


type Reader = Callable[[int, str | None], Page]
"""Reads a page of a list, with up to a number of promises, from the start or from a cursor."""

_response = msgspec.json.Decoder(inspected(_Response))
_promise = msgspec.json.Decoder(inspected(_PromiseData))
_promises = msgspec.json.Decoder(inspected(Page))
_task = msgspec.json.Decoder(inspected(_TaskData))
_tasks = msgspec.json.Decoder(inspected(_Tasks))


def read(raw: bytes | str) -> ProtocolResponse:
    """Return the response in an envelope."""
    try:
        response = _response.decode(raw)
    except msgspec.DecodeError as error:
        raise Unreachable(
            "the response is not from a Resonate server. Use the URL of `hitl server` or of another Resonate"
            f" server ({error}).",
            code="server-failed",
        ) from error
    if response.head.status in UNAUTHORIZED:
        raise Unreachable(
            "the server refused the token. Give another with --token or RESONATE_TOKEN.", code="token-refused"
        )
    return ProtocolResponse(response.head.status, response.data, response.head.capabilities)


def call(client: Client, kind: str, **data: Any) -> ProtocolResponse:
    """Return the response to one request."""
    return client.call_many([ProtocolRequest(kind, data)])[0]


def send(client: Client, *requests: ProtocolRequest) -> Promise:
    """Carry out requests together, and return the promise in the response to the first.

    The others may fail.
    """
    return as_promise(client.call_many(requests)[0])


def send_all(client: Client, requests: Sequence[ProtocolRequest]) -> list[Promise]:
    """Carry out requests together, and return the promises in their responses."""
    return [as_promise(answer) for answer in client.call_many(requests)] if requests else []


def refused(answer: ProtocolResponse) -> HitlError:
    """Return the error for a response that refuses a request."""
    match answer.status:
        case 404:
            return NotFound(f"{answer.message()}.")
        case 400 if _REFUSED_ID in answer.message():
            return ids_refused()
        case 400 | 422:
            return BadInput(f"refused: {answer.message()}.")
        case 409:
            return Conflict(f"{answer.message()}.")
        case _:
            return Unreachable(
                f"the server failed: {answer.message()} (status {answer.status}).", code="server-failed"
            )


def ids_refused() -> Unreachable:
    """Return the error for a server that accepts only the ids of older SDKs."""
    return Unreachable(
        "this Resonate Server refuses the ids of resonate-sdk 0.8, so no workflow can run on it: use its"
        " release 0.9.8 or hitl server (docs/guides/resonate-server.md).",
        code="ids-refused",
    )


def check_ids(client: Client) -> None:
    """Raise Unreachable if the server refuses the ids of steps. Nothing is stored on it.

    Such a server finds the origin in `hitl-probe.1`, an id of older SDKs, but not in `hitl-probe:1`. Without
    that difference nothing is concluded: the server may be failing, or the token may lack the right.
    """
    if not client.capabilities.plain:
        return
    probes = [
        ProtocolRequest("promise.register_callback", {"awaited": f"{PROBE}{sep}1", "awaiter": PROBE})
        for sep in ":."
    ]
    try:
        ours, older = (answer.status for answer in client.call_many(probes))
    except Unreachable as error:
        if error.code == "token-refused":
            return
        raise
    if (ours, older) == (BAD_REQUEST, NO_SUCH):
        raise ids_refused()


def as_promise(answer: ProtocolResponse) -> Promise:
    """Return the promise in a response. Raises NotFound and others."""
    if answer.status != OK:
        raise refused(answer)
    return _promise.decode(answer.data).promise


def as_page(answer: ProtocolResponse) -> Page:
    """Return the page in the response to a search."""
    if answer.status != OK:
        raise refused(answer)
    return _promises.decode(answer.data)


def get_promises(client: Client, ids: Sequence[str]) -> dict[str, Promise]:
    """Return the promises that exist, by id."""
    return get_and_search(client, ids, ())[0]


def get_promise(client: Client, id: str) -> Promise | None:
    """Return a promise; None if it does not exist."""
    return get_promises(client, [id]).get(id)


def get_tasks(client: Client, ids: Sequence[str]) -> dict[str, Task]:
    """Return the tasks that exist, by id."""
    answers = client.call_many([ProtocolRequest("task.get", {"id": id}) for id in ids]) if ids else []
    return {id: _task.decode(a.data).task for id, a in zip(ids, answers, strict=True) if a.status == OK}


def tasks_in(client: Client, state: str, most: int) -> list[Task]:
    """Return up to `most` tasks that are in a state."""
    answer = call(client, "task.search", state=state, limit=most)
    if answer.status != OK:
        raise refused(answer)
    return _tasks.decode(answer.data).tasks


def search_pages(client: Client, size: int = PAGE, **query: Any) -> Iterator[list[Promise]]:
    """Yield pages of up to `size` matching promises; `query` is the data of promise.search."""
    return pages(partial(search_page, client, **query), size)


def pages(read: Reader, size: int = PAGE) -> Iterator[list[Promise]]:
    """Yield the pages of a list, each of up to `size` promises."""
    cursor: str | None = None
    while True:
        found = read(size, cursor)
        yield found.promises
        cursor = found.cursor
        if cursor is None:
            return


def search_page(client: Client, size: int, cursor: str | None, **query: Any) -> Page:
    """Return one page of the matching promises: the first one, or the one at a cursor.

    Raises BadInput for an invalid cursor.
    """
    page = {"limit": min(size, PAGE)} | ({"cursor": cursor} if cursor else {})
    return as_page(call(client, "promise.search", **query, **page))


def search(client: Client, *, state: str | None = None, **query: Any) -> list[Promise]:
    """Return all promises that match, in the order of creation."""
    wanted = query if state is None else {"state": state, **query}
    return _current(client, [promise for page in search_pages(client, **wanted) for promise in page], state)


def _current(client: Client, found: list[Promise], state: str | None = None) -> list[Promise]:
    """Return what a search found, in the order of creation and without promises that are overdue.

    A Resonate Server lists promises by their ids. One that is past its deadline stays pending until it is
    read, so it is read here.
    """
    if not client.capabilities.plain:
        return found
    now = client.now()
    late = get_promises(client, [p.id for p in found if p.state == "pending" and p.timeout_at <= now])
    current = (late.get(promise.id, promise) for promise in found)
    return sorted((promise for promise in current if state in (None, promise.state)), key=creation_order)


def creation_order(promise: Promise) -> tuple[int, int, str]:
    """Return a sort key. The SDKs number the promises of the same instant."""
    return promise.created_at, len(promise.id), promise.id


def search_many(client: Client, wanted: Sequence[Mapping[str, str]]) -> list[list[Promise]]:
    """Return, for each of several sets of tags, all matching promises, in one round trip if they are few."""
    return search_each(client, [{"tags": tags} for tags in wanted])


def search_each(client: Client, queries: Sequence[Mapping[str, Any]]) -> list[list[Promise]]:
    """Return the same for each of several queries."""
    return get_and_search(client, (), queries)[1]


def get_and_search(
    client: Client, ids: Sequence[str], queries: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Promise], list[list[Promise]]]:
    """Return the promises that exist, by id, and the result of each search, in one round trip."""
    found, answers = search_beside(
        client, queries, [ProtocolRequest("promise.get", {"id": id}) for id in ids]
    )
    return {
        id: as_promise(answer) for id, answer in zip(ids, answers, strict=True) if answer.status != NO_SUCH
    }, found


def search_beside(
    client: Client, queries: Sequence[Mapping[str, Any]], others: Sequence[ProtocolRequest]
) -> tuple[list[list[Promise]], list[ProtocolResponse]]:
    """Return all promises that match each query, and the responses to other requests.

    It takes one round trip if each query finds few.
    """
    searches = [ProtocolRequest("promise.search", {**query, "limit": PAGE}) for query in queries]
    answers = client.call_many([*others, *searches]) if others or searches else []
    first = map(as_page, answers[len(others) :])
    return [
        search(client, **query) if page.cursor else _current(client, page.promises, query.get("state"))
        for query, page in zip(queries, first, strict=True)
    ], answers[: len(others)]
