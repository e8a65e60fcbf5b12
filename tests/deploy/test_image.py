"""deploy/Dockerfile: its steps are run, and what they make runs as process 1 and as a user without rights."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from hitl_cli.cli.serving import STOPPED_WITHIN_S
from tests.deploy.dockerfile import Container, Stage, built, stages

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
WORKFLOWS = ROOT / "deploy" / "app" / "workflows.py"
BUILD, LAST = stages(DOCKERFILE)


def test_the_base_is_pinned_and_uv_is_that_of_the_repository() -> None:
    assert BUILD.image == LAST.image
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", LAST.image)
    [version] = re.findall(r"UV_VERSION=(\S+)", (ROOT / "scripts" / "uv").read_text())
    assert f"uv=={version}" in " ".join(argument for _, argument in BUILD.steps)


def test_it_installs_what_the_lock_has_and_copies_what_docker_may_read() -> None:
    for argument in (argument for name, argument in BUILD.steps if name == "RUN" and "uv sync" in argument):
        assert {"--frozen", "--no-default-groups"} <= {*argument.split()}
    ignored = (DOCKERFILE.with_name("Dockerfile.dockerignore")).read_text().split()
    for argument in (argument for name, argument in BUILD.steps if name == "COPY"):
        for source in argument.split()[:-1]:
            assert f"!{source}" in ignored
            assert (ROOT / source).exists()


def test_it_verifies_signed_decisions() -> None:
    assert "passkeys" in BUILD.last("ARG")
    assert all("$EXTRAS" in run for run in _runs(BUILD) if "uv sync" in run)
    assert any("apt-get install" in run and "openssh-client" in run for run in _runs(LAST))


def _runs(stage: Stage) -> list[str]:
    return [argument for name, argument in stage.steps if name == "RUN"]


def test_it_is_not_root_and_is_asked_to_end_as_hitl_expects() -> None:
    assert LAST.last("USER") == "10001:10001"
    assert LAST.last("STOPSIGNAL") == "SIGTERM"
    assert LAST.words("ENTRYPOINT") == ["hitl"]  # not a shell, which would keep the signal
    assert LAST.words("CMD")[0] == "gateway"


@pytest.mark.long
@pytest.mark.heavy
@pytest.mark.timeout(400)
def test_the_image_runs_as_process_1_and_ends_by_sigterm(tmp_path: Path) -> None:
    with built([BUILD, LAST], ROOT, tmp_path) as image:
        assert image.shell("python -m pip --version || echo no pip") == "no pip\n"
        assert image.shell("ls -A /src /opt/hitl/bin/uv 2>/dev/null || true") == ""
        image.shell(f"echo {shlex.quote(WORKFLOWS.read_text())} > /app/workflows.py")
        image.shell("echo 'app = \"workflows.py\"' > /app/hitl.toml")
        worker = {"HEALTH_URL": "http://127.0.0.1:9464/health"}
        for command, env in ((LAST.words("CMD"), {}), (["worker", "--metrics", "9464"], worker)):
            container = Container(image, [*LAST.words("ENTRYPOINT"), *command], env)
            container.said("sqlite:////data/hitl/hitl.db")
            assert container.run(LAST.words("HEALTHCHECK")) == 0
            assert (container.status("NSpid")[-1], container.status("Uid")) == ("1", [image.ids[0]] * 4)
            code, took_s = container.stop()
            assert code == 0
            assert took_s < STOPPED_WITHIN_S
