"""The OpenAPI 3.1 document of the API, made from the table of its routes."""

from __future__ import annotations

import inspect
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from hitl_cli import __version__
from hitl_cli.gateway.error_responses import phrase_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hitl_cli.gateway.api.route import Route

REFERENCE = "#/components/schemas/{name}"


class FieldProblem(Struct, frozen=True):
    """A problem in one part of the input. An empty `path` means all of it."""

    path: str
    detail: str


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error (RFC 9457). `errors` are about fields of the request's form or of the body."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] = []
    lines: list[str] = []


PARAMETERS: dict[str, dict[str, Any]] = {
    "Idempotency-Key": {
        "description": "Makes retries safe: the same key and body take effect once, with the same response.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    },
    "If-Match": {
        "description": "The ETag of the request as you know it. Responds 412 if it has changed since.",
        "schema": {"type": "string"},
    },
    "If-None-Match": {
        "description": "The ETag of the request as you know it. Responds 304 if it has not changed.",
        "schema": {"type": "string"},
    },
}


def document(table: Sequence[Route], base: str = "") -> dict[str, Any]:
    """Return the OpenAPI document. `base` is the base path of all routes."""
    kinds = [kind for route in table for kind in (*route.answers.values(), route.query, route.body) if kind]
    schemas, components = msgspec.json.schema_components([*kinds, Problem], ref_template=REFERENCE)
    by_kind = dict(zip([*kinds, Problem], schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in table:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_kind, components)
    queries = {route.query.__name__ for route in table if route.query is not None}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "hitl",
            "version": __version__,
            "summary": "Requests to people, their decisions, and the runs that ask.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base or "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in components.items() if name not in queries},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API token, created with `hitl token create`.",
                }
            },
        },
    }


def _operation(route: Route, schemas: dict[Any, Any], components: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a route."""
    problem = {
        "description": "Error",
        "content": {"application/problem+json": {"schema": schemas[Problem]}},
    }
    responses = {str(status): _answer(route, status, kind, schemas) for status, kind in route.answers.items()}
    described: dict[str, Any] = {
        "operationId": route.handle.__name__,
        "summary": route.summary,
        "description": f"{inspect.getdoc(route.handle)} Requires the permission {_listed(route)}.",
        "parameters": _parameters(route, components),
        "responses": {**responses, "default": problem},
    }
    if route.body is not None:
        content = {"application/json": {"schema": schemas[route.body]}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _listed(route: Route) -> str:
    """Return the permissions of a route, any one of which is enough."""
    return " or ".join(f"`{permission}`" for permission in route.needs)


def _answer(route: Route, status: int, kind: Any, schemas: dict[Any, Any]) -> dict[str, Any]:
    """Return the description of a response."""
    told = {"description": phrase_of(status)}
    if status == HTTPStatus.NOT_MODIFIED:
        return told
    schema = {"type": "string"} if kind is None else schemas[kind]
    return {**told, "content": {route.media_type: {"schema": schema}}}


def _parameters(route: Route, components: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the description of a route's parameters."""
    found: list[dict[str, Any]] = []
    if "{id}" in route.path:
        found.append({"name": "id", "in": "path", "required": True, "schema": {"type": "string"}})
    if route.query is not None:
        for name, schema in components[route.query.__name__]["properties"].items():
            found.append({"name": name, "in": "query", "required": False, "schema": schema})
    headers = (route.conditional, "Idempotency-Key" if route.repeatable else None)
    return found + [
        {"name": name, "in": "header", "required": False, **PARAMETERS[name]} for name in headers if name
    ]
