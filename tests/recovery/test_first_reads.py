"""Two threads read a type for the first time at the same moment.

msgspec 0.22 inspects a Struct when it is first read. If the Struct has others in its fields, a second thread
that reads it meanwhile crashes the process. So such types are inspected when their module is imported.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

READ = """
import threading, time
import msgspec
from msgspec import _utils
from {module} import {name}

inspect = _utils._get_class_mro_and_typevar_mappings
_utils._get_class_mro_and_typevar_mappings = lambda cls: (time.sleep(0.05), inspect(cls))[1]

def read(after_s):
    time.sleep(after_s)
    msgspec.json.decode({document!r}, type={name})

threads = [threading.Thread(target=read, args=(0.075 * number,)) for number in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.parametrize(
    ("module", "name", "document"),
    [
        ("hitl_cli.auth.signing_keys", "Keys", b'{"keys": [{"secret": "a", "created_at": 1}]}'),
        (
            "hitl_cli.requests.question",
            "Question",
            b'{"prompt": "?", "escalate": [{"after": 1, "to": ["ops"]}]}',
        ),
        ("hitl_cli.notify.digest_store", "DigestEnd", b'{"last": {"who": "a", "at": 1, "outcome": "sent"}}'),
    ],
)
def test_a_type_is_read_for_the_first_time_by_two_threads(module: str, name: str, document: bytes) -> None:
    script = READ.format(module=module, name=name, document=document)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
