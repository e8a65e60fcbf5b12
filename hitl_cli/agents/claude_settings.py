"""The hook of hitl in the settings of Claude Code: `.claude/settings.json` of a project or of a user."""

from __future__ import annotations

import difflib
import json
import tempfile
from pathlib import Path
from typing import Any

from msgspec import Struct

from hitl_cli.errors import BadSetting

EVENTS = ("PreToolUse", "PermissionRequest")

MARK = " hook claude"
"""What the command of a hook of hitl contains."""


def settings_path(*, user: bool) -> Path:
    """Return the settings file of the user, or of the project in this folder. Raises BadSetting."""
    try:
        folder = Path.home() if user else Path.cwd()
    except (OSError, RuntimeError) as error:
        raise BadSetting(f"the folder of the settings cannot be found: {error}.") from error
    return folder / ".claude" / "settings.json"


class InstalledHook(Struct, frozen=True, kw_only=True):
    """A hook of hitl in a settings file."""

    event: str
    matcher: str | None
    command: str
    timeout_s: float | None


def hooks_in(path: Path) -> list[InstalledHook]:
    """Return hitl's hooks in a settings file. Raises BadSetting."""
    return [
        InstalledHook(
            event=event,
            matcher=_text_or_none(entry.get("matcher")),
            command=str(hook["command"]),
            timeout_s=hook["timeout"] if isinstance(hook.get("timeout"), int | float) else None,
        )
        for event in EVENTS
        for entry in _entries(_read(path), event)
        for hook in _hooks(entry)
        if _is_ours(hook)
    ]


def installed(path: Path) -> list[str]:
    """Return the commands of hitl's hooks in a settings file. Raises BadSetting."""
    return [hook.command for hook in hooks_in(path)]


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def with_hook(path: Path, event: str, matcher: str, command: str, timeout_s: int) -> tuple[str, str]:
    """Return the text of a settings file without and with the hook. Raises BadSetting."""
    settings = _without_ours(_read(path))
    hook = {"type": "command", "command": command, "timeout": timeout_s}
    settings.setdefault("hooks", {}).setdefault(event, []).append({"matcher": matcher, "hooks": [hook]})
    return _text(path), _written(settings)


def without_hook(path: Path) -> tuple[str, str]:
    """Return the text of a settings file with and without hitl's hooks. Raises BadSetting."""
    before = _text(path)
    return before, before if not installed(path) else _written(_without_ours(_read(path)))


def difference(path: Path, before: str, after: str) -> list[str]:
    """Return the change of a file as lines of a unified diff."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), str(path), str(path), lineterm="", n=2
    )
    return list(lines)


def write(path: Path, text: str) -> None:
    """Replace a file as a whole, with its mode. Raises BadSetting."""
    target = path.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
        with tempfile.NamedTemporaryFile("w", dir=target.parent, delete=False, encoding="utf-8") as new:
            new.write(text)
        Path(new.name).chmod(mode)
        Path(new.name).replace(target)
    except OSError as error:
        raise BadSetting(f"{path} cannot be written: {error.strerror}.") from error


def _text(path: Path) -> str:
    """Return the content of a file; empty if there is none. Raises BadSetting."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"{path} cannot be read: {getattr(error, 'strerror', error)}.") from error


def _read(path: Path) -> dict[str, Any]:
    """Return the settings in a file, checked as far as hitl reads them. Raises BadSetting."""
    text = _text(path)
    try:
        settings = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        raise BadSetting(f"{path} is not JSON: {error}. Nothing was changed.") from error
    if not isinstance(settings, dict) or not isinstance(settings.get("hooks", {}), dict):
        raise BadSetting(f"{path} is not a settings file of Claude Code. Nothing was changed.")
    for event in EVENTS:
        if not isinstance(settings.get("hooks", {}).get(event, []), list):
            raise BadSetting(f"{path}: hooks.{event} is not a list. Nothing was changed.")
    return settings


def _entries(settings: dict[str, Any], event: str) -> list[Any]:
    found: list[Any] = settings.get("hooks", {}).get(event, [])
    return found


def _hooks(entry: Any) -> list[Any]:
    hooks = entry.get("hooks") if isinstance(entry, dict) else None
    return hooks if isinstance(hooks, list) else []


def _is_ours(hook: Any) -> bool:
    return isinstance(hook, dict) and MARK in f" {hook.get('command')} "


def _without_ours(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings without hitl's hooks, and without entries that become empty."""
    hooks = dict(settings.get("hooks", {}))
    for event in EVENTS:
        kept = []
        for entry in _entries(settings, event):
            others = [hook for hook in _hooks(entry) if not _is_ours(hook)]
            if others or not any(map(_is_ours, _hooks(entry))):
                kept.append({**entry, "hooks": others} if len(others) < len(_hooks(entry)) else entry)
        if kept:
            hooks[event] = kept
        else:
            hooks.pop(event, None)
    rest = {name: value for name, value in settings.items() if name != "hooks"}
    return rest | ({"hooks": hooks} if hooks else {})


def _written(settings: dict[str, Any]) -> str:
    return json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
