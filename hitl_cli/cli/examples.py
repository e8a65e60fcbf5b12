"""The examples at the end of each command's help."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "demo": ("hitl demo", "hitl demo email", "hitl demo agent", "hitl demo proof"),
    "init": ("hitl init", "hitl init approvals", "hitl init --print"),
    "worker": ("hitl worker", "hitl worker --app deploy.py --group production"),
    "server": ("hitl server", "hitl server --port 8002"),
    "gateway": ("hitl gateway", "hitl gateway --port 5002"),
    "dev": ("hitl dev", "hitl dev --app deploy.py"),
    "login": ("hitl login https://hitl.example.org", "hitl login --device https://hitl.example.org"),
    "logout": ("hitl logout",),
    "whoami": ("hitl whoami",),
    "token": ("hitl token create --as ci --can start", "hitl token list", "hitl token revoke ID"),
    "start": (
        'hitl start hitl-001 --kwarg prompt="Ship 1.4.2?"',
        "hitl start release-1 1.4.2 --workflow deploy --wait",
    ),
    "status": ("hitl status", "hitl status --state waiting", "hitl status hitl-001"),
    "wait": ("hitl wait hitl-001 --timeout 1h",),
    "cancel": ('hitl cancel hitl-001 --reason "no longer needed"',),
    "workflows": ("hitl workflows",),
    "schedule": (
        'hitl schedule add nightly "0 2 * * *" --workflow deploy',
        "hitl schedule list",
        "hitl schedule remove nightly",
    ),
    "ask": (
        'hitl ask "Which region?" --choice eu --choice us --id region-1',
        'hitl ask --deadline 2h -- "$PROMPT" && ./deploy',
    ),
    "pending": ("hitl pending", "hitl pending --mine --due 1d", "hitl pending --sort priority --watch"),
    "show": ("hitl show hitl-001",),
    "review": ("hitl review",),
    "approve": (
        "hitl approve hitl-001",
        'hitl approve release-1 --set percent=20 --comment "the rest after lunch"',
        "hitl approve --match 'release-*' --dry-run",
    ),
    "reject": ('hitl reject hitl-001 --reason "over budget"',),
    "answer": ("hitl answer region-1 eu",),
    "away": ("hitl away", "hitl away --until 14d --to lead", "hitl away --end"),
    "ask-back": ('hitl ask-back hitl-001 "Which account?"',),
    "answer-back": ('hitl answer-back hitl-001 "The second"',),
    "comment": ('hitl comment hitl-001 "looks good"', 'hitl comment hitl-001 -- "- fixed"'),
    "assign": ("hitl assign invoice-7 lead", "hitl assign invoice-7 group:ops --add"),
    "claim": ("hitl claim hitl-001", "hitl claim hitl-001 --for 2h"),
    "release": ("hitl release hitl-001",),
    "extend": ("hitl extend invoice-7 2d",),
    "open": ("hitl open", "hitl open hitl-001"),
    "link": (
        "hitl link hitl-001 --for reviewer",
        "hitl link create hitl-001 --for reviewer --expires 2d",
        "hitl link revoke hitl-001",
    ),
    "rule": (
        "hitl rule add --tool Bash --match 'git status*' --for 8h",
        "hitl rule add --tool Write --match '/srv/app/*' --deny --reason 'ask me first'",
        "hitl rule list",
        "hitl rule remove ID",
    ),
    "notify": ("hitl notify list", "hitl notify test reviewer"),
    "people": (
        "hitl people list",
        "hitl people add lead --ssh ~/.ssh/id_ed25519.pub",
        "hitl people revoke SHA256:AiKQGZ --from 2026-11-27T12:00:00Z",
        "hitl people remove reviewer",
    ),
    "history": ("hitl history --since 7d", "hitl history --all --csv --excel"),
    "verify": ("hitl verify --since 30d",),
    "receipt": ("hitl receipt region-1", "hitl receipt region-1 --html"),
    "export": ("hitl export --since 90d",),
    "stats": ("hitl stats --since 30d",),
    "backup": ("hitl backup copy.db",),
    "key": ("hitl key list", "hitl key rotate"),
    "doctor": ("hitl doctor",),
    "checkpoint": ("hitl checkpoint --key ~/.ssh/id_ed25519",),
    "prune": ("hitl prune --older 90d --dry-run",),
    "hook": (
        "hitl hook install claude --to lead",
        "hitl hook uninstall claude",
        "hitl hook claude --to lead --then defer",
        "hitl hook codex --to lead",
        "hitl hook resume --once",
    ),
    "mcp": (
        "hitl mcp --to lead",
        "hitl mcp --gateway https://hitl.example.org --to group:ops",
    ),
    "postgres": (
        "hitl postgres install -S postgresql://owner@db.example.com/hitl",
        "hitl postgres install --print",
        "hitl postgres status -S postgresql://owner@db.example.com/hitl",
    ),
}
"""By command. A test runs the lines that end by themselves, and parses the others."""

_ROOT = (
    "hitl demo",
    "hitl dev --app deploy.py",
    "hitl start release-1 1.4.2 --workflow deploy",
    "hitl approve release-1",
    'hitl ask "Deploy 1.4.2?" && ./deploy',
    "hitl approve --help",
)


def _below(lines: tuple[str, ...]) -> str:
    """Return the text below a help: one paragraph per line, so that Typer keeps the lines."""
    return "\n\n".join(("Examples:", *lines))


ROOT_EPILOG = _below(_ROOT)


def epilog_of(name: str, sub: str = "") -> str | None:
    """Return the text below the help of a command or of its subcommand; None if it has no examples."""
    lines = tuple(line for line in EXAMPLES.get(name, ()) if line.startswith(f"hitl {name} {sub}".rstrip()))
    return _below(lines) if lines else None
