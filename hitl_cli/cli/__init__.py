"""The command line: `hitl`."""

import sys

INTERRUPTED = 130
"""What a shell expects of a command that Ctrl-C ended."""


def main() -> None:
    """Run the command line. Ctrl-C ends it quietly, also while it is still being imported."""
    try:
        from hitl_cli.cli.app import run

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
