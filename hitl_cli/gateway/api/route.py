"""Routes of the API: their definition, and reading of queries and bodies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache, partial
from inspect import iscoroutinefunction
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    Protocol,
    get_args,
    get_type_hints,
    runtime_checkable,
)

import msgspec
from aiohttp import web
from aiohttp.web import Request, StreamResponse
from msgspec import Meta, Struct

from hitl_cli.errors import BadInput, BadJson, BadQuery
from hitl_cli.format.json import why_not_json
from hitl_cli.format.validation import in_document, located
from hitl_cli.gateway.auth.access import Visitor
from hitl_cli.gateway.context import Gateway, gateway_of
from hitl_cli.gateway.error_responses import json_answer
from hitl_cli.gateway.http_error import HttpError
from hitl_cli.inspected import inspected
from hitl_cli.people.actor import Permission
from hitl_cli.people.idempotency import IdempotencyMark, mark_of

if TYPE_CHECKING:
    from hitl_cli.inbox import Inbox
    from hitl_cli.people.actor import Actor

VIA = "api"
"""The `via` of actions through the API, for the record."""

LONGEST_KEY = 255
"""Characters of an Idempotency-Key."""


type Instant = Annotated[datetime, Meta(tz=True, description="An instant with a time zone, in ISO 8601.")]


def in_ms(at: datetime) -> int:
    """Return an instant in ms since the epoch."""
    return round(at.timestamp() * 1_000)


class Call[Query, Body](Struct, frozen=True, kw_only=True):
    """A parsed HTTP request. `query` and `body` have the types of the route; None for a route without."""

    request: Request
    gateway: Gateway
    visitor: Visitor
    query: Query
    body: Body

    @property
    def id(self) -> str:
        """The id in the path."""
        return self.request.match_info["id"]

    @property
    def actor(self) -> Actor:
        """The visitor as an actor through the API."""
        return msgspec.structs.replace(self.visitor.actor, via=VIA)

    async def inbox[T](self, work: Callable[[Inbox], T]) -> T:
        """Run `work` with the visitor's inbox, and return its result."""
        return await self.gateway.inbox(self.actor, work)

    async def look_back[T](self, work: Callable[[Inbox], T]) -> T:
        """Like `inbox`, for slow reads of history and statistics."""
        return await self.gateway.inbox(self.actor, work, pool=self.gateway.lookback)

    def mark(self, subject: str) -> IdempotencyMark | None:
        """Return the idempotency mark of this request, if it has an Idempotency-Key. Raises BadInput."""
        given = self.request.headers.getall("Idempotency-Key", [])
        if not given:
            return None
        [key, *more] = given
        if more or not key.strip() or len(key) > LONGEST_KEY or not key.isprintable():
            raise BadInput(f"invalid Idempotency-Key: send one text of 1 to {LONGEST_KEY} characters.")
        said = msgspec.json.encode(self.body, order="sorted")
        return mark_of(key, self.visitor.person, subject, said)


class Route(Struct, frozen=True, kw_only=True):
    """A route of the API. `answers` are the response types by status; None means no JSON."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    handle: Callable[..., Any]
    """Returns a response, or what is sent as JSON. If it is not async, it runs in a thread, with an inbox."""
    needs: tuple[Permission, ...]
    """One of these permissions."""
    summary: str
    query: type[Struct] | None
    body: type[Struct] | None
    status: int
    """The status of what is sent as JSON."""
    answers: Mapping[int, Any]
    media_type: str = "application/json"
    repeatable: bool = False
    """Whether it supports Idempotency-Key."""
    conditional: str | None = None
    """The conditional header that it supports."""


class Routes(list[Route]):
    """The routes of a module. Its methods decorate their handlers, as those of aiohttp's RouteTableDef do."""

    def get[Handler: Callable[..., Any]](
        self, path: str, summary: str, **more: Any
    ) -> Callable[[Handler], Handler]:
        """Add a route to read something (see `_add`)."""
        return self._add("GET", path, summary, **more)

    def post[Handler: Callable[..., Any]](
        self, path: str, summary: str, **more: Any
    ) -> Callable[[Handler], Handler]:
        """Add a route to change something (see `_add`)."""
        return self._add("POST", path, summary, **more)

    def delete[Handler: Callable[..., Any]](
        self, path: str, summary: str, **more: Any
    ) -> Callable[[Handler], Handler]:
        """Add a route to end something (see `_add`)."""
        return self._add("DELETE", path, summary, **more)

    def _add[Handler: Callable[..., Any]](
        self,
        method: Literal["GET", "POST", "DELETE"],
        path: str,
        summary: str,
        *,
        status: int = 200,
        answers: Mapping[int, Any] | None = None,
        **more: Any,
    ) -> Callable[[Handler], Handler]:
        """Add a route, whose types are the annotations of the decorated handler.

        `answers` are the types of a handler that returns a response; `more` are other fields of Route.
        """

        def add(handle: Handler) -> Handler:
            types = get_type_hints(handle)
            query, body = (None if kind is type(None) else kind for kind in get_args(types["call"]))
            self.append(
                Route(
                    method=method,
                    path=f"/api/v1{path}",
                    handle=handle,
                    summary=summary,
                    query=query,
                    body=body,
                    status=status,
                    answers=answers or {status: types["return"]},
                    **more,
                )
            )
            return handle

        return add


@runtime_checkable
class Paged(Protocol):
    """A page of a list in views/."""

    @property
    def next(self) -> str | None:
        """The `cursor` of the next page; None on the last one."""


def served(route: Route) -> web.RouteDef:
    """Return the aiohttp route."""
    in_thread = not iscoroutinefunction(route.handle)

    async def answer(request: Request) -> StreamResponse:
        gateway = gateway_of(request)
        visitor = gateway.access.visitor(request, *route.needs)
        call = Call(
            request=request,
            gateway=gateway,
            visitor=visitor,
            query=_read_query(request, route.query),
            body=await _read_body(request, route.body, visitor) if route.method == "POST" else None,
        )
        if in_thread:
            answered = await call.inbox(partial(route.handle, call))
        else:
            answered = await route.handle(call)
        if isinstance(answered, StreamResponse):
            return answered
        return json_answer(answered, route.status, _links(request, gateway, answered))

    path = route.path.replace("{id}", "{id:[^/]+}")
    return web.get(path, answer) if route.method == "GET" else web.route(route.method, path, answer)


def _links(request: Request, gateway: Gateway, answered: Any) -> dict[str, str]:
    """Return the header with a link to the next page of a list, if there is one."""
    if not isinstance(answered, Paged) or answered.next is None:
        return {}
    target = request.rel_url.update_query(cursor=answered.next)
    options = gateway.options
    return {"Link": f'<{options.base}{options.without_base(str(target))}>; rel="next"'}


# Reading


def _read_query[T: Struct](request: Request, kind: type[T] | None) -> T | None:
    """Return the query as a type whose fields all have defaults. A parameter with a tuple may be repeated."""
    given = request.query
    if kind is None:
        if given:
            raise BadQuery(f"unknown parameter {next(iter(given))!r}.")
        return None
    lists = _repeated(kind)
    values: dict[str, Any] = {}
    for name in dict.fromkeys(given):
        texts = given.getall(name)
        if name not in lists and len(texts) > 1:
            raise BadQuery(f"{name} is given {len(texts)} times but takes one value.")
        values[name] = texts if name in lists else texts[0]
    try:
        return msgspec.convert(values, inspected(kind), strict=False)
    except (msgspec.ValidationError, UnicodeError) as error:
        said = in_document(error, kind, "parameter")
        raise BadQuery(f"invalid query: {said}.", problems=[(located(error)[0], said)]) from error


@cache
def _repeated(kind: type[Struct]) -> frozenset[str]:
    """Return the parameters that may be repeated. Cached, because inspecting a type takes a millisecond."""
    fields = msgspec.structs.fields(kind)
    return frozenset(field.encode_name for field in fields if isinstance(field.default, tuple))


async def _read_body[T: Struct](request: Request, kind: type[T] | None, visitor: Visitor) -> T | None:
    """Return the body. Raises BadInput, HttpError (415).

    Only JSON is accepted, because pages of other sites cannot send it. This protects visitors with a cookie.
    """
    raw = await request.read()
    if request.content_type != "application/json" and (raw or visitor.session is not None):
        raise HttpError(415, "send JSON with Content-Type: application/json.")
    return None if kind is None else read_json(raw or b"{}", kind)


def read_json[T](raw: bytes, kind: type[T]) -> T:
    """Return a body. Raises BadInput, with the field."""
    try:
        return msgspec.json.decode(raw, type=inspected(kind))
    except msgspec.ValidationError as error:
        said = in_document(error, kind)
        raise BadJson(f"invalid body: {said}.", problems=[(located(error)[0], said)]) from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadJson(f"the body is not JSON: {why_not_json(error)}.") from error
