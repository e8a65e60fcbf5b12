"""Nothing that a person gives is decoded as more than JSON, by the SDK that reads it in a worker.

The SDK unpickles a field of a rejected value (resonate/codec.py). Each of these would leave a file behind if
anything of it were unpickled.
"""

from __future__ import annotations

import base64
import contextlib
import pickle
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from resonate.codec import Codec, NoopEncryptor, decode_settled
from resonate.error import ApplicationError
from resonate.types import PromiseRecord

from hitl_cli.client.embedded import EmbeddedClient
from hitl_cli.client.protocol import ProtocolRequest, as_promise, call
from hitl_cli.client.wire import encode
from hitl_cli.errors import BadInput
from hitl_cli.format.names import normalized
from hitl_cli.requests.question import Question
from tests.acting import Answer, approval, comment, decide, rejection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


CODEC = Codec(NoopEncryptor())
TOUCHED = "touched"


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


@pytest.fixture
def client(tmp_path: Path) -> Iterator[EmbeddedClient]:
    with EmbeddedClient(tmp_path / "hitl.db") as opened:
        yield opened


def hostile(folder: Path) -> list[Any]:
    """Return data by which somebody would reach the place where the SDK unpickles."""
    pickled = base64.b64encode(pickle.dumps(Bomb(folder / TOUCHED))).decode()
    field = {"__py_pickle": pickled}
    error = {"__type": "error", "message": "no", **field}
    return [pickled, field, error, [error], {"a": error}, msgspec.json.encode(error).decode(), "__INF__"]


def put(client: EmbeddedClient, id: str, question: Question) -> str:
    tags = {"resonate:external": "true", **question.tags(key=None, workflow=None)}
    param = encode(msgspec.to_builtins(question))
    as_promise(
        call(client, "promise.create", id=id, timeoutAt=client.now() + 1_000_000, param=param, tags=tags)
    )
    return id


def as_the_sdk_sees_it(client: EmbeddedClient, id: str) -> PromiseRecord:
    """Return the promise as the SDK has it once it has decoded it."""
    answer = client.call_many([ProtocolRequest("promise.get", {"id": id})])[0]
    record = msgspec.json.decode(answer.data, type=dict[str, PromiseRecord])["promise"]
    return CODEC.decode_promise(record)


def give(client: EmbeddedClient, id: str, answer: Answer) -> None:
    """Answer, and have the SDK read what came of it, as a workflow would."""
    decide(client, id, answer)
    record = as_the_sdk_sees_it(client, id)
    if record.state == "rejected":
        with pytest.raises(ApplicationError) as raised:
            decode_settled(record)
        assert type(raised.value) is ApplicationError
        assert str(raised.value) == answer.said.reason
    else:
        assert decode_settled(record) == answer.said.data


@pytest.mark.parametrize("n", range(7))
def test_hostile_data_is_refused_or_comes_back_as_the_json_it_is(
    client: EmbeddedClient, tmp_path: Path, n: int
) -> None:
    data = hostile(tmp_path)[n]
    text = data if isinstance(data, str) else msgspec.json.encode(data).decode()
    for approvals in (1, 2):
        form: list[dict[str, Any] | None] = [None, {}, {"type": ["object", "array", "string"]}]
        for k, schema in enumerate(form):
            id = put(client, f"{approvals}-{k}", Question(prompt=text, form=schema, approvals=approvals))
            comment(client, id, text, by=text[:100], via=text)
            with contextlib.suppress(BadInput):
                answer = approval(by="a", via=text, data=data, comment=text)
                if approvals == 2:
                    decide(client, id, approval(by="b", via=text, data=data, comment=text))
                give(client, id, answer)
        id = put(client, f"{approvals}-no", Question(prompt=text, approvals=1))
        give(client, id, rejection(by=text[:100], via=text, reason=text, comment=text))
    assert not (tmp_path / TOUCHED).exists()


def test_a_field_of_a_form_does_not_get_there_either(client: EmbeddedClient, tmp_path: Path) -> None:
    for n, data in enumerate(hostile(tmp_path)):
        text = msgspec.json.encode(data).decode()
        id = put(client, f"f{n}", Question(prompt="?", form={"type": "object", "properties": {"a": {}}}))
        for name in ("a", "__py_pickle", "__type", '["__py_pickle"]'):
            with contextlib.suppress(BadInput):
                decide(client, id, approval(by="a", via="b", fields=[(name, text)]))
        record = as_the_sdk_sees_it(client, id)
        if record.state != "pending":
            assert not {"__py_pickle", "__type"} & set(keys_in(decode_settled(record)))
    assert not (tmp_path / TOUCHED).exists()


def texts_in(data: Any) -> Iterator[str]:
    inner = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    for value in inner:
        yield from texts_in(value)
    if isinstance(data, str):
        yield data


def keys_in(data: Any) -> Iterator[str]:
    if isinstance(data, dict):
        yield from data
        for value in data.values():
            yield from keys_in(value)
    elif isinstance(data, list):
        for value in data:
            yield from keys_in(value)


TEXT = st.text(max_size=30).filter(lambda text: text.strip() != "")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "__type", "__py_pickle", "message"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=JSON, reason=TEXT, remark=TEXT, person=TEXT)
def test_whatever_is_given_the_sdk_sees_json_or_our_own_error(
    client: EmbeddedClient, data: Any, reason: str, remark: str, person: str
) -> None:
    id = f"p{client.now()}-{abs(hash((reason, remark, person)))}"
    put(client, f"{id}y", Question(prompt="?"))
    put(client, f"{id}n", Question(prompt="?"))
    refused = {"__type", "__py_pickle"} & set(keys_in(data)) | {"__INF__", "__NEG_INF__"} & set(
        texts_in(data)
    )
    try:
        give(client, f"{id}y", approval(by=person, via="cli", data=data, comment=remark))
        assert not refused
    except BadInput:
        assert refused or not normalized(person) or normalized(person).casefold().startswith("group:")
    with contextlib.suppress(BadInput):
        give(client, f"{id}n", rejection(by=person, via="cli", reason=reason, comment=remark))
