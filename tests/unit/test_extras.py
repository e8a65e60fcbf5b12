"""Without an extra, whatever needs it says what to install, and is also an ImportError."""

import importlib
import sys
from collections.abc import Callable

import pytest

from hitl_cli.errors import MissingExtra
from hitl_cli.mcp.extra import require_mcp
from hitl_cli.postgres.extra import require_psycopg


@pytest.mark.parametrize(
    ("extra", "package", "need"),
    [
        ("mcp", "mcp", require_mcp),
        ("postgres", "psycopg", require_psycopg),
        ("langgraph", "langgraph", "hitl_cli.agents.langgraph"),
        ("openai-agents", "agents", "hitl_cli.agents.openai_agents"),
        ("pydantic-ai", "pydantic_ai", "hitl_cli.agents.pydantic_ai"),
        ("pydantic-ai", "pydantic_ai", "hitl_cli.agents.durable_tools"),
    ],
)
def test_a_missing_extra_is_named_with_what_to_install(
    extra: str, package: str, need: Callable[[], None] | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith((f"{package}.", "hitl_cli.agents."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra) as raised:
        importlib.import_module(need) if isinstance(need, str) else need()
    assert f"pip install 'resonate-hitl[{extra}]'" in str(raised.value)
    assert raised.value.code == "missing-extra"
    assert isinstance(raised.value, ImportError)
