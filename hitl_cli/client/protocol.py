"""What people's commands ask of a server, whichever it is: the protocol's requests, typed.

`connect` gives a client for a URL; nothing here knows what is behind it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import msgspec
from msgspec import Struct

from hitl_cli.client.wire import Promise, Task, check_size
from hitl_cli.engine.records import Value
from hitl_cli.errors import BadInput, Conflict, HitlError, NotFound, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

PAGE = 1_000
"""Records asked for at once when a list is read whole."""

OK = 200
NO_SUCH = 404
UNAUTHORIZED = (401, 403)


class ProtocolRequest(Struct, frozen=True):
    """One request of the protocol: its kind and its data."""

    kind: str
    data: dict[str, Any]

    def __post_init__(self) -> None:
        """Raise TooLarge for a payload that no server stores: over HTTP, one refuses it in mid-sentence."""
        for name in ("param", "value", "promiseParam"):
            if isinstance(value := self.data.get(name), Value):
                check_size(self.data["id"], value)


class ProtocolResponse(Struct, frozen=True):
    """An answer: the status, the data as it came, and the server's capabilities where it names them."""

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
    """What a server can do beyond the protocol; a plain Resonate server can do none of it.

    `sort`: promise.search takes `sort` and `settledSince`. `root`: it takes `root`, and so lists runs alone.
    `prefix`: it takes `idPrefix`. `open`: the tag `resonate:external` finds every promise that only the
    outside can settle. `order`: a search answers in the order of creation. `ring`: `Client.wait` returns at
    once when another process commits.
    """

    sort: bool = False
    root: bool = False
    prefix: bool = False
    open: bool = False
    order: bool = False
    ring: bool = False


def capabilities_named(names: Iterable[str]) -> Capabilities:
    """Return the capabilities with these names; names that a newer server has are left out."""
    return Capabilities(**{name: True for name in names if name in Capabilities.__struct_fields__})


class Listener(Struct, frozen=True):
    """A worker that listens now. `workflows` is None where nobody knows what it serves."""

    group: str
    workflows: tuple[str, ...] | None = None


class Client(ABC):
    """What people's commands need of a server. All calls block; none is for an event loop."""

    name: str
    """The server's URL, without secrets."""

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What the server can do beyond the protocol. Raises Unreachable."""

    @abstractmethod
    def call_many(self, requests: Sequence[ProtocolRequest]) -> list[ProtocolResponse]:
        """Answer the requests, in order. Raises Unreachable."""

    @abstractmethod
    def wait(self, timeout_s: float) -> None:
        """Return when something may have changed, or after `timeout_s` seconds."""

    def version(self) -> int | None:
        """Return a number that is another one once others have changed something; None if nobody can tell.

        Raises Unreachable.
        """
        return None

    @abstractmethod
    def now(self) -> int:
        """Return the present in ms since the epoch."""

    @abstractmethod
    def has_worker(self, group: str) -> bool | None:
        """Return whether a worker of the group listens; None where the server cannot tell."""

    def listeners(self) -> list[Listener] | None:
        """Return the workers that listen now; None where the server cannot tell."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Let go of the server."""

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


type Reader = Callable[[int, str | None], Page]
"""What reads a list: up to so many promises of it, from its beginning or from where a cursor says."""

_response = msgspec.json.Decoder(_Response)
_promise = msgspec.json.Decoder(_PromiseData)
_promises = msgspec.json.Decoder(Page)
_task = msgspec.json.Decoder(_TaskData)


def read(raw: bytes | str) -> ProtocolResponse:
    """Return an answer from its envelope."""
    try:
        response = _response.decode(raw)
    except msgspec.DecodeError as error:
        raise Unreachable(f"what answered is no Resonate server: {error}.", code="server-failed") from error
    if response.head.status in UNAUTHORIZED:
        raise Unreachable(
            "the server refused the token. Give another with --token or RESONATE_TOKEN.", code="token-refused"
        )
    return ProtocolResponse(response.head.status, response.data, response.head.capabilities)


def call(client: Client, kind: str, **data: Any) -> ProtocolResponse:
    """Answer one request."""
    return client.call_many([ProtocolRequest(kind, data)])[0]


def refused(answer: ProtocolResponse) -> HitlError:
    """Return the error that an answer means."""
    match answer.status:
        case 404:
            return NotFound(f"{answer.message()}.")
        case 400 | 422:
            return BadInput(f"the server refused this: {answer.message()}.")
        case 409:
            return Conflict(f"{answer.message()}.")
        case _:
            return Unreachable(
                f"the server failed: {answer.message()} (status {answer.status}).", code="server-failed"
            )


def as_promise(answer: ProtocolResponse) -> Promise:
    """Return the promise in an answer. Raises NotFound and others."""
    if answer.status != OK:
        raise refused(answer)
    return _promise.decode(answer.data).promise


def as_page(answer: ProtocolResponse) -> Page:
    """Return the page in the answer of a search."""
    if answer.status != OK:
        raise refused(answer)
    return _promises.decode(answer.data)


def get_promises(client: Client, ids: Sequence[str]) -> dict[str, Promise]:
    """Return those of the promises that exist, by id."""
    if not ids:
        return {}
    answers = client.call_many([ProtocolRequest("promise.get", {"id": id}) for id in ids])
    return {
        id: as_promise(answer) for id, answer in zip(ids, answers, strict=True) if answer.status != NO_SUCH
    }


def get_promise(client: Client, id: str) -> Promise | None:
    """Return the promise, or None."""
    return get_promises(client, [id]).get(id)


def get_tasks(client: Client, ids: Sequence[str]) -> dict[str, Task]:
    """Return those of the tasks that exist, by id."""
    answers = client.call_many([ProtocolRequest("task.get", {"id": id}) for id in ids]) if ids else []
    return {id: _task.decode(a.data).task for id, a in zip(ids, answers, strict=True) if a.status == OK}


def search_pages(client: Client, size: int = PAGE, **query: Any) -> Iterator[list[Promise]]:
    """Yield pages of up to `size` promises that match; `query` is promise.search's data."""
    return pages(partial(search_page, client, **query), size)


def pages(read: Reader, size: int = PAGE) -> Iterator[list[Promise]]:
    """Yield a list page after page, each of up to `size` promises."""
    cursor: str | None = None
    while True:
        found = read(size, cursor)
        yield found.promises
        cursor = found.cursor
        if cursor is None:
            return


def search_page(client: Client, size: int, cursor: str | None, **query: Any) -> Page:
    """Return one page of the promises that match: the first, or the one that the cursor of another names.

    Raises BadInput for a cursor that is none.
    """
    page = {"limit": min(size, PAGE)} | ({"cursor": cursor} if cursor else {})
    return as_page(call(client, "promise.search", **query, **page))


def search(client: Client, **query: Any) -> list[Promise]:
    """Return all promises that match."""
    return [promise for page in search_pages(client, **query) for promise in page]


def search_many(client: Client, wanted: Sequence[Mapping[str, str]]) -> list[list[Promise]]:
    """Return all promises that match each of several sets of tags, at the cost of one search."""
    searches = [ProtocolRequest("promise.search", {"tags": tags, "limit": PAGE}) for tags in wanted]
    first = map(as_page, client.call_many(searches)) if searches else []
    return [
        search(client, tags=tags) if page.cursor else page.promises
        for tags, page in zip(wanted, first, strict=True)
    ]
