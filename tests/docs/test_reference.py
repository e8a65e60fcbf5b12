"""The reference has each setting, environment variable and tag."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hitl_cli import settings
from hitl_cli.client import tags
from hitl_cli.people.callbacks import CallbackSettings
from hitl_cli.people.checkpoints import CheckpointSettings
from hitl_cli.people.contacts import EmailSettings, GroupContact, HookSettings, WebhookSettings
from hitl_cli.people.oidc_settings import OidcSettings
from hitl_cli.people.visibility import RoleSettings, VisibilitySettings

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"

BY_PLUGINS = {"channels"}
"""Fields that are no keys of the file: plugins' channels stand beside the others."""

FOR_CONTRIBUTORS = {"HITL_DEBUG", "HITL_TRACE"}
"""Variables that the page on debugging has."""


def keys(kind: Any) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(kind)} - BY_PLUGINS


def test_every_key_of_the_settings_is_on_the_page_and_every_key_of_the_page_exists() -> None:
    page = (REFERENCE / "settings.md").read_text()
    tables = (GroupContact, EmailSettings, WebhookSettings, HookSettings, CallbackSettings, OidcSettings)
    kinds = (
        settings._FileSettings,
        *tables,
        CheckpointSettings,
        settings.MetricsSettings,
        VisibilitySettings,
        RoleSettings,
    )
    known = {key for kind in kinds for key in keys(kind)}
    assert not {key for key in known if not re.search(rf"`{key}\b|\[{key}\.", page)}
    [table] = re.findall(r"^\| table .*?\n\n", page, re.MULTILINE | re.DOTALL)
    named = {
        key for row in table.strip().splitlines()[2:] for key in re.findall(r"`([a-z_]+)`", row.split("|")[2])
    }
    assert named <= known


def test_every_environment_variable_is_in_the_reference() -> None:
    found = {
        name
        for path in (ROOT / "hitl_cli").rglob("*.py")
        for name in re.findall(r'"((?:HITL|RESONATE)_[A-Z_]+)"', path.read_text())
    }
    page = (REFERENCE / "settings.md").read_text()
    assert {name for name in found - FOR_CONTRIBUTORS if f"`{name}`" not in page} == set()


@pytest.mark.parametrize("name", [name for name in vars(tags) if name.endswith("_TAG")])
def test_every_tag_is_in_the_reference_or_the_protocol(name: str) -> None:
    pages = (REFERENCE / "wire.md", ROOT / "docs" / "explanation" / "protocol.md")
    assert any(getattr(tags, name) in page.read_text() for page in pages)
