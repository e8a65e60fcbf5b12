"""The examples at the end of each command's help."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "demo": ("hitl demo", "hitl demo email"),
    "worker": ("hitl worker", "hitl worker --app deploy.py --group production"),
    "server": ("hitl server", "hitl server --port 8002"),
    "gateway": ("hitl gateway --port 5001",),
    "dev": ("hitl dev --app deploy.py",),
    "token": ("hitl token create --as ci --can start", "hitl token list"),
    "start": (
        'hitl start hitl-001 --kwarg prompt="Ship 1.4.2?"',
        "hitl start release-1 1.4.2 --workflow deploy --wait",
    ),
    "status": ("hitl status", "hitl status --state waiting", "hitl status hitl-001"),
    "wait": ("hitl wait hitl-001 --timeout 1h",),
    "cancel": ('hitl cancel hitl-001 --reason "no longer needed"',),
    "workflows": ("hitl workflows",),
    "schedule": ('hitl schedule add nightly "0 2 * * *" --workflow deploy', "hitl schedule list"),
    "ask": (
        'hitl ask --deadline 2h -- "$PROMPT" && ./deploy',
        'hitl ask "Which region?" --choice eu --choice us --id region-1',
    ),
    "pending": ("hitl pending --mine", "hitl pending --sort priority --watch"),
    "show": ("hitl show hitl-001",),
    "review": ("hitl review",),
    "approve": (
        "hitl approve hitl-001",
        'hitl approve release-1 --set percent=20 --comment "the rest after lunch"',
        "hitl approve --match 'release-*' --dry-run",
    ),
    "reject": ('hitl reject hitl-001 --reason "over budget"',),
    "answer": ("hitl answer region-1 eu",),
    "comment": ('hitl comment hitl-001 "looks good"', 'hitl comment hitl-001 -- "- fixed"'),
    "open": ("hitl open", "hitl open hitl-001"),
    "link": ("hitl link hitl-001 --for reviewer --expires 2d",),
    "notify": ("hitl notify list", "hitl notify test reviewer"),
    "history": ("hitl history --since 7d", "hitl history --all --csv --excel"),
    "stats": ("hitl stats --since 30d",),
    "backup": ("hitl backup copy.db",),
    "key": ("hitl key rotate",),
    "doctor": ("hitl doctor",),
    "prune": ("hitl prune --older 90d --dry-run",),
}
"""By command; a test reads every line as the command would."""


def epilog_of(name: str) -> str | None:
    """Return what stands below the help of a command: a paragraph a line, as Typer keeps them apart."""
    lines = EXAMPLES.get(name)
    return None if lines is None else "\n\n".join(("Examples:", *lines))
