"""A client after a fork: parent and child ask at the same time, and each is answered what it asked."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from hitl_cli.client.protocol import get_promises

if TYPE_CHECKING:
    from tests.conftest import Hitl

EACH = 100
FORKS = f"""
import os, sys
from hitl_cli.client.connect import connect
from hitl_cli.client.protocol import ProtocolRequest, as_promise, get_promise

client = connect(sys.argv[1])
get_promise(client, "before")
child = os.fork()
for number in range({EACH}):
    id = f"{{'parent' if child else 'child'}}-{{number}}"
    asked = {{"id": id, "timeoutAt": client.now() + 60_000, "param": {{}}, "tags": {{}}}}
    assert as_promise(client.call_many([ProtocolRequest("promise.create", asked)])[0]).id == id
client.close()
if child:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
else:
    os._exit(0)
"""


def test_a_forked_process_has_a_connection_of_its_own(hitl: Hitl) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS, hitl.url], check=True, timeout=60)
    made = [f"{who}-{number}" for who in ("parent", "child") for number in range(EACH)]
    with hitl.client() as client:
        assert len(get_promises(client, made)) == len(made)
