"""`make release`: what it builds, and that it can be built again."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from scripts import release

if TYPE_CHECKING:
    from pathlib import Path

URL = re.compile(r"[a-z][a-z+.-]*:[!#-;=?-Z_a-z~%\[\]]+")
CHANGELOG = "# Changelog\n\n## 1.2.3 ({})\n\nWords.\n"


@pytest.mark.parametrize(
    ("changelog", "tag", "said"),
    [
        (CHANGELOG.format("unreleased"), None, None),
        (CHANGELOG.format("2026-11-27"), "v1.2.3", None),
        (CHANGELOG.format("unreleased"), "v1.2.3", "instead of the date"),
        (CHANGELOG.format("2026-11-27"), "v1.2.4", "is not v1.2.3"),
        (CHANGELOG.replace("1.2.3", "1.2.2"), None, "must begin with"),
        ("# Changelog\n\n## 1.2.3 (unreleased)\n\n", None, "must begin with"),
    ],
)
def test_a_release_needs_its_section_of_the_changelog(
    changelog: str, tag: str | None, said: str | None
) -> None:
    if said is None:
        release.check_changelog(changelog, "1.2.3", tag)
    else:
        with pytest.raises(SystemExit, match=said):
            release.check_changelog(changelog, "1.2.3", tag)


@pytest.mark.long
@pytest.mark.heavy
@pytest.mark.timeout(600)
def test_the_same_commit_gives_the_same_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")  # is set by check_out, and put back here
    built = []
    for name, mask in (("a", 0o022), ("another", 0o077)):
        before = os.umask(mask)
        try:
            release.check_out(tmp_path / name)
        finally:
            os.umask(before)
        for file in (tmp_path / name).rglob("*.py"):
            os.utime(file, (time.time(), time.time()))
        release.build_packages(tmp_path / f"{name}-dist", tmp_path / name)
        built.append({each.name: each.read_bytes() for each in (tmp_path / f"{name}-dist").iterdir()})
    assert built[0] == built[1]
    assert len(built[0]) == 2


@pytest.mark.long
@pytest.mark.heavy
@pytest.mark.timeout(600)
def test_a_release_has_hashes_and_a_bill_of_materials_and_works_where_it_is_installed(tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    command = [sys.executable, "-m", "scripts.release", "--dist", str(dist), "--python", "3.12"]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert said.endswith("Python 3.12: works\n")
    assert "wheels for Python 3.14 on x86_64" in said
    sums = {line[66:]: line[:64] for line in (dist / "SHA256SUMS").read_text().splitlines()}
    files = {each.name: each.read_bytes() for each in dist.iterdir() if each.name != "SHA256SUMS"}
    assert sums == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    [wheel] = [name for name in files if name.endswith(".whl")]
    version = wheel.split("-")[1]
    for name in ("", "-all"):
        assert f"--hash=sha256:{sums[wheel]}" in files[f"requirements{name}.txt"].decode()
        sbom = json.loads(files[f"resonate_hitl-{version}{name}.cdx.json"])
        assert sbom["bomFormat"] == "CycloneDX"
        assert sbom["metadata"]["component"]["version"] == version
        parts = {each["name"] for each in sbom["components"]}
        assert "resonate-sdk" in parts
        assert ("joserfc" in parts) == bool(name)
        urls = [link["url"] for each in sbom["components"] for link in each.get("externalReferences", [])]
        assert urls
        assert not [url for url in urls if not URL.fullmatch(url)]
        assert str(tmp_path).encode() not in files[f"resonate_hitl-{version}{name}.cdx.json"]
