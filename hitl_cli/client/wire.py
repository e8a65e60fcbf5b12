"""How values are stored in promises: the SDKs' encoding of arguments, decisions and errors.

The SDKs store base64 of JSON in `data` (resonate/codec.py). What a person writes is never stored where the
SDK looks for `__py_pickle`: a rejection is an error value of ours with the reason as a text in it
(docs/explanation/security.md).
"""

from __future__ import annotations

import base64
import binascii
import os
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct

from hitl_cli.client.tags import EXTERNAL_TAG, ORIGIN_TAG, SCOPE_TAG, TARGET_TAG, TIMER_TAG
from hitl_cli.engine.records import VALUE_MAX, Millis, PromiseState, TaskState, Value, size_of
from hitl_cli.errors import TooLarge
from hitl_cli.inspected import inspected

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from resonate.types import PromiseRecord

    from hitl_cli.engine.records import Payload

type Json = Any
"""A JSON value: None, bool, int, float, str, list or dict."""

type SignatureKind = Literal["ssh", "passkey"]

type Verdict = Literal["approve", "reject"]

FUNCTION_HEADER = "hitl:function"
"""Header with the name of a step's function, in the param of the step's promise."""

EXACT_FLOAT = 2**53
"""Up to here, a float represents each whole number exactly."""

INSTANT_DIGITS = 16
"""Most digits of an instant in ms."""

EXTERNAL = {EXTERNAL_TAG: "true"}
"""The tag of promises that only the outside can settle, on hitl's engine."""

GLOBAL = {SCOPE_TAG: "global"}
"""The tag of runs, and on other servers of promises that only the outside can settle; see `is_blocking`."""

EXPIRED_HEADER = "hitl:expired"
"""Header of the value with which a movable deadline has settled a request: that deadline."""

CLOCKS_DIFFER_MS = 3_600_000
"""How much an author's clock may differ from the server's before the server's time is used."""


class Promise(Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """A promise as any server shows it. Instants are ms since the epoch."""

    id: str
    state: PromiseState
    timeout_at: int
    created_at: int = 0
    settled_at: int | None = None
    param: Value | None = None
    value: Value | None = None
    tags: dict[str, str] = {}

    @property
    def origin(self) -> str:
        """The id of the run that it belongs to: from its tag, or from the beginning of its id."""
        return self.tags.get(ORIGIN_TAG) or self.id.split(":", 1)[0] or self.id

    @property
    def is_blocking(self) -> bool:
        """Whether only the outside can settle it, so that it may wait for a person."""
        return is_blocking(self.tags)

    @property
    def expired_at(self) -> int | None:
        """The deadline that has settled it; None if it is pending, or was settled otherwise."""
        return expired_at(self.state, self.timeout_at, headers_of(self.value))

    @property
    def is_run(self) -> bool:
        """Whether it is a run: a call with an id of its own."""
        return self.is_call and self.origin == self.id

    @property
    def is_call(self) -> bool:
        """Whether a worker executes it."""
        return TARGET_TAG in self.tags

    @property
    def is_timer(self) -> bool:
        """Whether its deadline resolves it."""
        return self.tags.get(TIMER_TAG) == "true"

    @property
    def call(self) -> Call | None:
        """The function call that it represents; None if it has none that can be read."""
        return decode_as(self.param, Call)

    @property
    def function(self) -> str | None:
        """The name of the function that it runs: of a call, or of a `ctx.run` step."""
        call = self.call
        return call.func if call else headers_of(self.param).get(FUNCTION_HEADER)


type AnyPromise = Promise | PromiseRecord
"""A promise, of hitl or of the SDK: both have the same fields."""


class Task(Struct, frozen=True, kw_only=True):
    """A task as any server shows it."""

    id: str
    state: TaskState
    version: int


class Call(Struct, frozen=True):
    """A function call, as the SDKs store it in a promise's param.

    `args` is a list in Python and TypeScript. In Rust it is the single argument itself.
    """

    func: str
    args: Json = []
    kwargs: dict[str, Json] = {}
    version: int = 1


class Proof(
    Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    rename={"authenticator_data": "authenticatorData", "client_data": "clientDataJSON"},
):
    """A person's signature of a decision or a vote (docs/reference/proof.md).

    `decision` is the decision's id, and `at` its instant in ms since the epoch, both as signed. The last
    three fields are for a passkey: the id of its credential, and the other signed data, in base64url.
    """

    kind: SignatureKind
    decision: str
    at: Millis
    signature: str
    credential: str | None = None
    authenticator_data: str | None = None
    client_data: str | None = None


class Vote(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One person's vote on a request (docs/reference/wire.md). `at` is in ms since the epoch.

    `deputy_for` are the assignees for whom they voted as their deputy.
    """

    by: str
    verdict: Verdict
    at: Millis
    choice: str | None = None
    data: Json = None
    reason: str | None = None
    comment: str | None = None
    proof: Proof | None = None
    deputy_for: tuple[str, ...] = ()


_AS_JSON = {"votes": "votes", "proof": "proof", "deputy_for": "deputy-for"}
"""The fields of an audit record that are stored as JSON, and the names of their headers."""


class Audit(Struct, frozen=True):
    """Who decided, through which front end and when: the headers of a settled promise's value.

    `at` is in ms since the epoch. `rule` is the id of the standing rule that decided; `deputy_for` are the
    assignees for whom a deputy decided. All fields are None if another tool settled the promise.
    """

    id: str | None = None
    by: str | None = None
    via: str | None = None
    at: Millis | None = None
    comment: str | None = None
    choice: str | None = None
    votes: tuple[Vote, ...] = ()
    rule: str | None = None
    proof: Proof | None = None
    deputy_for: tuple[str, ...] = ()

    def headers(self) -> dict[str, str]:
        """Return the headers that store it."""
        fields = msgspec.structs.asdict(self)
        whole = {name: value for name in _AS_JSON if (value := fields.pop(name))}
        texts = {f"hitl:{name}": str(value) for name, value in fields.items() if value is not None}
        return texts | {
            f"hitl:{_AS_JSON[name]}": msgspec.json.encode(value).decode() for name, value in whole.items()
        }


def is_blocking(tags: Mapping[str, str]) -> bool:
    """Whether only the outside can settle a promise with these tags, so that it may wait for a person."""
    external = tags.get(EXTERNAL_TAG) == "true" or tags.get(SCOPE_TAG) == "global"
    return external and TARGET_TAG not in tags and tags.get(TIMER_TAG) != "true"


def expired_at(state: PromiseState, timeout_at: int, headers: Mapping[str, str]) -> int | None:
    """Return the deadline that has settled a promise; None if it is pending, or was settled otherwise."""
    if state == "rejected_timedout":
        return timeout_at
    at = headers.get(EXPIRED_HEADER, "")
    return int(at) if state != "pending" and at.isdecimal() and len(at) <= INSTANT_DIGITS else None


def tagged(promises: Iterable[Promise], tag: str, value: str) -> Iterator[Promise]:
    """Yield the promises with a tag."""
    return (promise for promise in promises if promise.tags.get(tag) == value)


class _Offered(Struct, frozen=True):
    id: str


class _MessageData(Struct, frozen=True):
    task: _Offered | None = None


class _Message(Struct, frozen=True):
    kind: str
    data: _MessageData = _MessageData()


def offered_task(message: str) -> str | None:
    """Return the id of the task in a message to a worker; None for other messages."""
    read = msgspec.json.decode(message, type=inspected(_Message))
    return read.data.task.id if read.kind == "execute" and read.data.task is not None else None


def child_id(ancestor: str, segment: str) -> str:
    """Return the id of a promise under another one (resonate/ids.py, join_id)."""
    return f"{ancestor}{'.' if ':' in ancestor else ':'}{segment}"


def fresh_id() -> str:
    """Return an id that is unique."""
    return os.urandom(16).hex()


def audit_of(promise: Promise) -> Audit:
    """Return the audit record of a settled promise."""
    return audit_in(headers_of(promise.value))


def said_at(promise: Promise, audit: Audit) -> int:
    """Return when a vote or comment was made, by its author's clock if that is close to the server's."""
    at = audit.at
    believed = at is not None and abs(at - promise.created_at) <= CLOCKS_DIFFER_MS
    return at if at is not None and believed else promise.created_at


def headers_of(value: Value | None) -> dict[str, str]:
    """Return the headers of a promise's param or value."""
    return (value.headers if value else None) or {}


def audit_in(headers: Mapping[str, str]) -> Audit:
    """Return the audit record in headers; fields that cannot be read are left out."""
    at = headers.get("hitl:at", "")
    return Audit(
        id=headers.get("hitl:id"),
        by=headers.get("hitl:by"),
        via=headers.get("hitl:via"),
        at=int(at) if at.isascii() and at.isdecimal() and len(at) <= INSTANT_DIGITS else None,
        comment=headers.get("hitl:comment"),
        choice=headers.get("hitl:choice"),
        votes=_header_as(headers, "hitl:votes", tuple[Vote, ...]) or (),
        rule=headers.get("hitl:rule"),
        proof=_header_as(headers, "hitl:proof", Proof),
        deputy_for=_header_as(headers, "hitl:deputy-for", tuple[str, ...]) or (),
    )


def _header_as[T](headers: Mapping[str, str], name: str, kind: type[T]) -> T | None:
    """Return the JSON in a header; None if there is none, or it cannot be read."""
    text = headers.get(name)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=inspected(kind))
    except (msgspec.MsgspecError, RecursionError):
        return None


def encode(data: Json, headers: dict[str, str] | None = None) -> Value:
    """Return JSON data in the SDKs' encoding; None becomes no data."""
    text = None if data is None else base64.b64encode(msgspec.json.encode(data)).decode()
    return Value(headers=headers, data=text)


def decode(value: Payload | None) -> Json:
    """Return the JSON data of a value; data in another encoding is returned as text."""
    if value is None or not value.data:
        return None
    try:
        return msgspec.json.decode(base64.b64decode(value.data, validate=True))
    except (binascii.Error, ValueError, RecursionError):  # msgspec.DecodeError is a ValueError
        return value.data


def decode_as[T](value: Payload | None, kind: type[T]) -> T | None:
    """Return the data of a value as an instance of a type; None if it does not fit."""
    try:
        return msgspec.convert(decode(value), inspected(kind))
    except msgspec.ValidationError:
        return None


def check_size(id: str, value: Payload | None) -> None:
    """Raise TooLarge for a payload that is larger than a server stores."""
    if size_of(value) > VALUE_MAX:
        raise TooLarge(too_large(id, value))


def too_large(id: str, value: Payload | None) -> str:
    """Return the message that refuses a payload."""
    return (
        f"the data of {id} has {size_of(value):,} bytes as stored, and the limit is {VALUE_MAX:,}."
        " Store it elsewhere, and pass its address."
    )


def same_json(one: Json, other: Json) -> bool:
    """Whether two values are the same JSON: `7` and `7.0` are, as in RFC 8785; `1` and `true` are not."""
    if one is other:  # usually None
        return True
    texts = msgspec.json.encode(one, order="sorted"), msgspec.json.encode(other, order="sorted")
    return texts[0] == texts[1] or comparable(texts[0]) == comparable(texts[1])


def comparable(text: bytes) -> bytes:
    """Return sorted JSON with whole numbers as integers, so that equal values have equal text."""
    if b"." not in text and b"e" not in text:
        return text
    return msgspec.json.encode(_WHOLE.decode(text), order="sorted")


def _whole(text: str) -> float | int:
    """Return the number in a JSON text; as an int if it is whole and a float represents it exactly."""
    number = float(text)
    return int(number) if number.is_integer() and abs(number) <= EXACT_FLOAT else number


_WHOLE = msgspec.json.Decoder(float_hook=_whole)


def error_value(reason: str, headers: dict[str, str] | None = None) -> Value:
    """Return the value of a rejection; every SDK decodes it as a plain error with this message."""
    return encode({"__type": "error", "message": reason}, headers)


def error_message(value: Payload | None) -> str:
    """Return the message of a rejection."""
    data = decode(value)
    if isinstance(data, dict) and isinstance(data.get("message"), str):
        message: str = data["message"]
        return message
    return "no reason was given" if data is None else msgspec.json.encode(data).decode()
