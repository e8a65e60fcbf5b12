"""The digest of a call: equal in every process, and different for a visible difference."""

from __future__ import annotations

import collections
import functools
import io
import os
import pathlib
import subprocess
import sys
import threading
import types
from typing import TYPE_CHECKING, Any

import pydantic
import pytest

from hitl_cli.sdk.arguments import DEEPEST, digests

if TYPE_CHECKING:
    from collections.abc import Callable


async def asks(_ctx: object, *_args: object) -> None: ...


class Asks:
    def __init__(self, text: str) -> None:
        self._text = text

    async def ask(self, _ctx: object) -> str:
        return self._text

    async def __call__(self, _ctx: object) -> str:
        return self._text


class Slotted:
    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Stranger(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return "***"


class Failed(Exception): ...


class Open(pydantic.BaseModel, extra="allow"): ...


def with_default(text: str) -> Callable[..., str]:
    return lambda _ctx, text=text: str(text)


def nested(text: str, depth: int) -> Any:
    value: Any = text
    for _ in range(depth):
        value = [value]
    return value


CALLED: dict[str, Callable[[str], Any]] = {
    "default": with_default,
    "lambda": lambda text: eval(f"lambda ctx: {text!r}"),
    "method": lambda text: Asks(text).ask,
    "callable": Asks,
    "cached": lambda text: functools.cache(lambda _ctx: text),
    "partial": lambda text: functools.partial(with_default(text)),
}
"""What is called, with the text somewhere in it."""

GIVEN: dict[str, Callable[[str], Any]] = {
    **CALLED,
    "private": Asks,
    "slots": Slotted,
    "namespace": lambda text: types.SimpleNamespace(text=text, lock=threading.Lock()),
    "deque": lambda text: collections.deque([text, object()]),
    "file": io.StringIO,
    "path": lambda text: pathlib.Path(f"a at 0x{text}"),
    "exception": Failed,
    "repr": Stranger,
    "secret": pydantic.SecretStr,
    "extra": lambda text: Open.model_validate({"text": text}),
    "buffer": lambda text: memoryview(text.encode()),
    "deep": lambda text: nested(text, DEEPEST - 10),
}
"""An argument, with the text somewhere in it."""


@pytest.mark.parametrize("kind", CALLED)
def test_what_a_function_holds_tells_calls_of_it_apart(kind: str) -> None:
    one, same, other = (digests(CALLED[kind](text), (), {}) for text in ("staging", "staging", "production"))
    assert one == same
    assert one != other


@pytest.mark.parametrize("kind", GIVEN)
def test_what_an_argument_holds_tells_calls_apart(kind: str) -> None:
    one, same, other = (
        digests(asks, [GIVEN[kind](text)], {}) for text in ("staging", "staging", "production")
    )
    assert one == same
    assert one != other


def test_two_functions_of_the_same_name_are_two() -> None:
    other = types.FunctionType(asks.__code__, {"__name__": "elsewhere"}, "asks")
    assert digests(asks, (), {}) != digests(other, (), {})


def test_an_argument_that_is_named_like_the_function_counts() -> None:
    assert digests(asks, (), {"asks": "staging"}) != digests(asks, (), {"asks": "production"})


def test_what_refers_to_itself_many_times_has_a_digest_at_once() -> None:
    one = types.SimpleNamespace()
    one.left = one.right = types.SimpleNamespace(up=one, two=[one, one])
    shared: Any = []
    for _ in range(90):
        shared = [shared, shared]
    assert digests(asks, [one, shared], {}) == digests(asks, [one, shared], {})


VALUES = """
import asyncio, collections, datetime, decimal, enum, functools, logging, random, re, sys, threading, types
from unittest.mock import MagicMock
from hitl_cli.sdk.arguments import digests

class Unstable(enum.Enum):
    ONE = object()

class Refuses:
    @property
    def __dict__(self): raise RuntimeError

class Mine: ...

text = set("abcdefgh")
values = [
    text, frozenset(text), {frozenset(text): text}, collections.deque([text]), types.SimpleNamespace(s=text),
    types.MappingProxyType({"s": text}), collections.ChainMap({"s": text}), ValueError(text), float("nan"),
    10**5000, Unstable.ONE, Refuses(), Mine(), {Mine(), Mine()}, Mine, len, [].append, asyncio.sleep,
    lambda: 1, MagicMock(),
    threading.Lock(), threading.current_thread(), logging.getLogger("x"), sys.stdout, random.Random(),
    datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), decimal.Decimal("1.10"), re.compile("a"), b"x",
]
print([digests(Mine, [value], {}) for value in values])
"""


def test_the_digests_are_the_same_in_every_process() -> None:
    printed = {
        subprocess.run(
            [sys.executable, "-c", VALUES],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(printed) == 1


def test_the_order_of_what_was_a_set_does_not_count_where_it_is_stored_as_a_list() -> None:
    assert digests(None, [["a", "b"]], {}, sort=True) == digests(None, [["b", "a"]], {}, sort=True)
    assert digests(None, [["a", "b"]], {}) != digests(None, [["b", "a"]], {})
