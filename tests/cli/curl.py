"""The `curl` commands of the docs, as far as they go: a machine that runs the tests need not have it."""

from __future__ import annotations

import argparse
import http.client
import shlex
from urllib.parse import urlsplit

from tests.conftest import PATIENCE_S

OPTIONS = argparse.ArgumentParser()
OPTIONS.add_argument("-s", action="store_true")
OPTIONS.add_argument("-S", action="store_true")
OPTIONS.add_argument("-i", action="store_true")
OPTIONS.add_argument("-X", dest="method")
OPTIONS.add_argument("-H", dest="headers", action="append", default=[])
OPTIONS.add_argument("-d", dest="data")
OPTIONS.add_argument("url")


def curl(line: str, port: str = "") -> str:
    """Return the output of a curl command: the body; with -i also the status.

    With `port` (as ":5001"), what is at https:// is on this port of this machine.
    """
    asked = OPTIONS.parse_args(shlex.split(line)[1:])
    parts = urlsplit(asked.url)
    headers = dict(header.split(": ", 1) for header in asked.headers)
    if asked.data is not None:
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
    if parts.scheme == "https":
        headers["Host"], parts = parts.netloc, parts._replace(netloc=f"127.0.0.1{port}")
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE_S)
    try:
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request(asked.method or ("POST" if asked.data else "GET"), path, asked.data, headers)
        answer = connection.getresponse()
        status = f"HTTP/1.1 {answer.status} {answer.reason}\n" if asked.i else ""
        return status + answer.read().decode()
    finally:
        connection.close()
