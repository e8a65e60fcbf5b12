"""Over `hitl server`: a call with a request in it, now made with other arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.authoring.test_changed_call import CALLS, code
from tests.authoring.test_changed_question import HEAD
from tests.conftest import wait_until
from tests.worker.watching import waiting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Hitl
    from tests.server.conftest import Served


@pytest.mark.parametrize("call", ["run", "rpc"])
def test_over_http_a_yes_is_not_used_for_a_call_with_other_arguments(
    hitl: Hitl, tmp_path: Path, serve: Callable[..., Served], call: str
) -> None:
    url = serve().url
    app = tmp_path / "app.py"
    app.write_text(HEAD + code(CALLS[call], "staging"))
    worker = hitl.worker("--app", str(app), "-S", url)
    hitl.ok("start", "r", "--no-args", "--workflow", "deploys", "-S", url)
    with hitl.client() as client:
        [old] = waiting(client)
        hitl.ok("approve", old, "--as", "ada", "-S", url)
        wait_until(lambda: waiting(client) == ["r:2.1"])
        worker.kill()
        hitl.ok("approve", "r:2.1", "--as", "ada", "-S", url)
        app.write_text(HEAD + code(CALLS[call], "production"))
        assert old in hitl.run("worker", "--check", "--app", str(app), "-S", url).stdout
        hitl.worker("--app", str(app), "-S", url)
        [new] = waiting(client)
        hitl.ok("reject", new, "--as", "ada", "-S", url)
    assert new == old.replace("r:1.", "r:r1.", 1)
    assert hitl.ok("wait", "r", "-S", url).strip() == "[false,true]"
