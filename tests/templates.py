"""Keeps what Jinja2 has compiled, in memory: each gateway would compile the templates of its first page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jinja2
from jinja2.bccache import Bucket, BytecodeCache

if TYPE_CHECKING:
    from types import CodeType


class _Kept(BytecodeCache):
    """Code by the template it was compiled from, and how."""

    def __init__(self) -> None:
        self.code: dict[tuple[object, ...], CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self.code.get(_key(bucket))

    def dump_bytecode(self, bucket: Bucket) -> None:
        assert bucket.code is not None
        self.code[_key(bucket)] = bucket.code


def _key(bucket: Bucket) -> tuple[object, ...]:
    how = bucket.environment
    options = (how.trim_blocks, how.lstrip_blocks, how.undefined, how.autoescape is True)
    return bucket.key, bucket.checksum, *options


def keep_compiled() -> None:
    """Have all environments of this process, and of its forks, share what they compile."""
    kept = _Kept()
    begin = jinja2.Environment.__init__

    def begin_with(self: jinja2.Environment, *args: Any, **given: Any) -> None:
        begin(self, *args, **{"bytecode_cache": kept, **given})

    jinja2.Environment.__init__ = begin_with  # type: ignore[method-assign]


def compile_all() -> None:
    """Compile the templates of all pages."""
    from hitl_cli.gateway import templating

    pages = templating.Renderer(lambda: 0)
    for name in templating._SOURCES:
        pages._templates.get_template(name)
