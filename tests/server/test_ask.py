"""`hitl ask` on a server over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.cli.test_ask import start, yes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Hitl
    from tests.server.conftest import Served


def test_it_asks_over_http_too(hitl: Hitl, served: Served) -> None:
    asking = start(hitl, "Deploy?", "--id", "d", "-S", served.url, "--form", '{"type": "integer"}')
    assert f"hitl answer d VALUE -S {served.url}" in asking.errors[0]
    hitl.ok("answer", "d", "7", "-S", served.url)
    assert asking.end() == 0
    assert asking.lines == ["7"]
    assert hitl.ok("ask", "--id", "d", "-S", served.url) == "7\n"
    hitl.fails(4, "ask", "Other?", "--id", "d", "-S", served.url, code="question-differs")


def test_a_server_that_is_restarted_meanwhile_is_waited_for(hitl: Hitl, serve: Callable[..., Served]) -> None:
    first = serve()
    port = int(first.netloc.rpartition(":")[2])
    asking = start(hitl, "Deploy?", "--id", "d", "-S", first.url)
    first.process.kill()
    yes(hitl, "d")
    serve(port=port)
    assert asking.end() == 0
    assert asking.lines == ["true"]
