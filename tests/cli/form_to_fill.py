"""Fills in the form that its first argument is, as a command does, and prints the answer."""

from __future__ import annotations

import json
import sys

from hitl_cli.cli.form_prompt import fill_in
from hitl_cli.errors import HitlError

if __name__ == "__main__":
    start = [(path, text) for path, _, text in (word.partition("=") for word in sys.argv[2:])]
    try:
        print(f"answer {json.dumps(fill_in(json.loads(sys.argv[1]), title='Pay it?', start=start))}")
    except HitlError as error:
        print(f"{type(error).__name__}: {error}")
