"""The command line: `hitl`."""

import atexit
import gc
import os
import sys

INTERRUPTED = 130
"""What a shell expects of a command that Ctrl-C ended."""

COLLECT_AFTER = 10_000
"""New objects before the garbage collector checks the youngest. 700, as of Python, cost 5 % of a list."""


def main() -> None:
    """Run the command line. Ctrl-C ends it quietly, also while it is still being imported."""
    gc.set_threshold(COLLECT_AFTER)
    atexit.register(gc.freeze)  # the last collection would look at all that was imported, and free nothing
    try:
        if os.getpid() == 1:
            from hitl_cli.cli.first_process import end_on_signals

            end_on_signals()
        from hitl_cli.cli.app import run
        from hitl_cli.cli.streams import escape_what_cannot_be_shown

        escape_what_cannot_be_shown()
        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
