"""The Rust example: started, listed, answered and canceled by our commands, over `hitl server`.

Building it takes a minute or more, so `make rust` does, and `make test` skips this.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Hitl, WorkerProcess, wait_until
from tests.server.conftest import serve, served  # noqa: F401 - fixtures

EXAMPLE = Path(__file__).parents[2] / "examples" / "rust"

ONCE = {
    "CARGO_INCREMENTAL": "0",
    "CARGO_PROFILE_DEV_CODEGEN_UNITS": "4",
    "CARGO_PROFILE_DEV_DEBUG": "0",
}
"""What compiles sooner, where nothing is compiled a second time."""

pytestmark = pytest.mark.skipif("HITL_RUST" not in os.environ, reason="`make rust` runs these")


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The worker, built in a folder that is kept between runs where CARGO_TARGET_DIR names one."""
    target = Path(os.environ.get("CARGO_TARGET_DIR") or tmp_path_factory.mktemp("target"))
    folder = target / "example"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("target"), dirs_exist_ok=True)
    leave_out_what_loopback_needs_not(folder)
    env = {**os.environ, **ONCE, "CARGO_TARGET_DIR": str(target)}
    build = ["nice", "-n", "9", "cargo", "build", "--quiet"]  # tests that run beside it have timeouts
    subprocess.run(build, cwd=folder, env=env, check=True, timeout=900)
    return target / "debug" / "hitl-example"


def leave_out_what_loopback_needs_not(folder: Path) -> None:
    """Have the SDK's HTTP client be built without TLS, HTTP/2 and the names of domains in Unicode.

    The SDK asks for all of that, and compiling it takes half of the time. The example needs http://127.0.0.1.
    """

    def cargo(*args: str) -> bytes:
        return subprocess.run(
            ["cargo", *args, "--quiet"], cwd=folder, check=True, stdout=subprocess.PIPE
        ).stdout

    client = folder / "reqwest"
    if not client.exists():
        cargo("update", "idna_adapter", "--precise", "1.0.0")  # documented as its release without them
        packages = json.loads(cargo("metadata", "--format-version", "1"))["packages"]
        [manifest] = [Path(package["manifest_path"]) for package in packages if package["name"] == "reqwest"]
        shutil.copytree(manifest.parent, client)
        manifest = client / "Cargo.toml"
        plain, count = re.subn(r"(?ms)^default = \[.*?\]", "default = []", manifest.read_text())
        assert count == 1
        manifest.write_text(plain)
    with (folder / "Cargo.toml").open("a") as example:
        example.write('\n[patch.crates-io]\nreqwest = { path = "reqwest" }\n')


@pytest.fixture
def rust(hitl: Hitl, program: Path, request: pytest.FixtureRequest) -> Hitl:
    """The commands on a `hitl server`, with a Rust worker."""
    url = request.getfixturevalue("served").url
    hitl.env |= {"HITL_SERVER": url, "RESONATE_URL": url}
    worker = WorkerProcess([str(program)], hitl.env, hitl.folder)
    hitl.workers.append(worker)
    worker.said("serving")
    return hitl


def start(rust: Hitl, id: str, *args: str) -> None:
    rust.ok("start", id, *args, "--workflow", "deploy", "--group", "rust")


def blocked(rust: Hitl, run: str) -> str:
    """Wait until a run waits for a person, and return the id of what it asks."""
    wait_until(lambda: any(item["workflow"] == run for item in rust.json("pending")))
    [item] = [item for item in rust.json("pending") if item["workflow"] == run]
    assert item["function"] == "deploy"
    return str(item["id"])


@pytest.mark.timeout(1_000)
def test_a_run_is_started_blocks_is_approved_by_its_promise_and_completes(rust: Hitl) -> None:
    start(rust, "release-1", "--args", '"1.4.2"')
    id = blocked(rust, "release-1")
    assert id == "release-1.1"
    rust.ok("approve", id, "--data", '{"window": "tonight"}')
    assert json.loads(rust.ok("wait", "release-1", "--timeout", "30s")).startswith("1.4.2 is out")
    tree = rust.ok("status", "release-1")
    assert [f"release-1.{n}" in tree for n in range(3)] == [True] * 3
    [entry] = rust.json("history")
    assert (entry["id"], entry["workflow"], entry["by"]) == (id, "release-1", "ada")


@pytest.mark.timeout(1_000)
def test_a_run_is_answered_by_its_own_id_and_a_rejection_has_its_reason(rust: Hitl) -> None:
    start(rust, "release-2", "--args", '"1.4.3"')
    blocked(rust, "release-2")
    rust.ok("reject", "release-2", "--reason", "over budget")
    assert json.loads(rust.ok("wait", "release-2", "--timeout", "30s")) == "1.4.3 stays here: over budget"


@pytest.mark.timeout(1_000)
def test_a_run_is_canceled_with_what_it_asks(rust: Hitl) -> None:
    start(rust, "release-3", "--args", '"1.4.4"')
    blocked(rust, "release-3")
    rust.ok("cancel", "release-3")
    assert rust.json("pending") == []


@pytest.mark.timeout(1_000)
def test_a_list_is_no_argument_of_a_function_in_rust(rust: Hitl) -> None:
    start(rust, "release-4", "1.4.5")
    rust.fails(1, "wait", "release-4", "--timeout", "30s", code="run-failed")
