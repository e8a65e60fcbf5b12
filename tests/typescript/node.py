"""Node, and the npm packages of examples/typescript: found, installed once, and left out with a reason."""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "typescript"
HERE = Path(__file__).parent
OLDEST_NODE = 20
INSTALL_S = 90
QUIETLY = ("--no-audit", "--no-fund", "--no-package-lock", "--no-progress", "--loglevel=error")
BRIEFLY = ("--prefer-offline", "--fetch-retries=1", "--fetch-retry-mintimeout=500", "--fetch-timeout=20000")
"""Without a network npm would else try for minutes before it says so."""
AS_TSX = (
    "--bundle",  # they import each other by the names of their sources
    "--packages=external",
    "--platform=node",
    "--format=esm",
    "--keep-names",
    "--log-level=error",
)
"""What tsx has esbuild do."""


def node() -> str:
    """Return the node command; skip where there is none, or one that is too old."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("node is not installed: the TypeScript SDK cannot be run")
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    major = re.match(r"v(\d+)", said)
    if major is None or int(major[1]) < OLDEST_NODE:
        pytest.skip(f"node is {said.strip()}: the TypeScript SDK needs {OLDEST_NODE} or newer")
    return found


def installed(cache: Path, *more: str) -> Path:
    """Return a folder with node_modules as examples/typescript/package.json asks for, and `more`.

    It is installed under `cache` by whichever test process comes first, and kept.
    """
    package = EXAMPLE / "package.json"
    folder = cache / hashlib.sha256(" ".join([package.read_text(), *more]).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    install(folder, *more, package=package)
    return folder


def install(folder: Path, *packages: str, package: Path | None = None) -> None:
    """Install npm packages in a folder, unless another test process has; skip if that cannot be done here.

    `package` is a package.json that names more of them.
    """
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            if package is not None:
                shutil.copy(package, folder)
            _npm_install(folder, *packages)
            (folder / "complete").touch()


def _npm_install(folder: Path, *more: str) -> None:
    """Run npm install; skip if that cannot be done here."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed: the TypeScript SDK cannot be fetched")
    command = [npm, "install", *QUIETLY, *BRIEFLY, *more]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    if done.returncode != 0:
        pytest.skip(f"npm cannot install the TypeScript SDK: {done.stderr[:300]}")


def project(folder: Path, packages: Path) -> Path:
    """Make `folder` a project with the example's and the tests' programs, and the packages."""
    folder.mkdir(exist_ok=True)
    for source in [
        *EXAMPLE.glob("*.ts"),
        *EXAMPLE.glob("package.json"),
        *HERE.glob("*.ts"),
        *HERE.glob("*.mjs"),
    ]:
        shutil.copy(source, folder)
    (folder / "node_modules").symlink_to(packages / "node_modules")
    return folder


def in_javascript(project: Path) -> Path:
    """Compile the programs of a project with what tsx compiles them with: tsx would at each start."""
    programs = sorted(path.name for path in project.glob("*.ts"))
    esbuild = project / "node_modules" / ".bin" / "esbuild"
    subprocess.run([esbuild, *programs, *AS_TSX, "--outdir=."], cwd=project, check=True)
    return project
