"""The command line: `hitl`."""

import os
import sys

INTERRUPTED = 130
"""What a shell expects of a command that Ctrl-C ended."""


def main() -> None:
    """Run the command line. Ctrl-C ends it quietly, also while it is still being imported."""
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
