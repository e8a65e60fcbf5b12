"""A Dockerfile: its stages, and its steps run in a copy of this machine that vanishes afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.conftest import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

UNSHARED = ("unshare", "--mount", "--pid", "--fork", "--kill-child")

BEGIN = """
set -eu
mount -t tmpfs image "$TOP"
mkdir "$TOP/empty"
# Stands in for the base image: this machine, with the Python that runs the tests as /usr/local.
begin() {
    mkdir -p "$TOP/$1".{up,work,root,local,local-work}
    mount -t overlay "$1" -o "lowerdir=/,upperdir=$TOP/$1.up,workdir=$TOP/$1.work" "$TOP/$1.root"
    if [ "$PREFIX" != /usr ] && [ "$PREFIX" != /usr/local ]; then
        mount -t overlay "$1" -o "lowerdir=$PREFIX,upperdir=$TOP/$1.local,workdir=$TOP/$1.local-work" \\
            "$TOP/$1.root/usr/local"
        /usr/sbin/chroot "$TOP/$1.root" /sbin/ldconfig
    fi
    mount --rbind /dev "$TOP/$1.root/dev"
    mount -t proc proc "$TOP/$1.root/proc"
    mount --bind "$TOP/empty" "$TOP/$1.root$TOP"
}
"""


BEGUN = """
import fcntl, os, socket, struct, sys, warnings
with socket.socket() as one:  # this network of its own has a loopback, which is down
    fcntl.ioctl(one, 0x8914, struct.pack("16sh14x", b"lo", 0x41))
root, user, group, folder, *command = sys.argv[1:]
os.chroot(root)
os.chdir(folder)
os.setgroups([])
os.setgid(int(group))
os.setuid(int(user))
os.execvp(command[0], command)
"""
"""Becomes a command in a folder that is its root."""


class Stage(NamedTuple):
    """What follows a FROM: the image, the name, and the other instructions with their arguments."""

    image: str
    name: str
    steps: Sequence[tuple[str, str]]

    def last(self, instruction: str) -> str:
        """Return the arguments of the last such instruction."""
        return [argument for name, argument in self.steps if name == instruction][-1]

    def words(self, instruction: str) -> list[str]:
        """Return the arguments of the last such instruction in the form of a JSON list."""
        found: list[str] = json.loads(re.sub(r"^[^\[]*", "", self.last(instruction)))
        return found


class Image(NamedTuple):
    """What a build made: its last stage, the folder, and a process that sees it."""

    stage: Stage
    root: Path
    builder: int

    @property
    def within(self) -> list[str]:
        """What goes before a command that sees the folder."""
        return ["nsenter", "--target", str(self.builder), "--mount"]

    @property
    def ids(self) -> list[str]:
        """The user and the group."""
        return self.stage.last("USER").split(":")

    @property
    def folder(self) -> str:
        """Where a command starts."""
        return self.stage.last("WORKDIR")

    @property
    def env(self) -> dict[str, str]:
        """The environment of a command."""
        pairs = (pair.partition("=") for pair in self.stage.last("ENV").split())
        return {name: value for name, _, value in pairs}

    def shell(self, command: str) -> str:
        """Run a command of a shell as root, and return what it prints."""
        inside = [*self.within, "/usr/sbin/chroot", str(self.root), "/bin/sh", "-c", command]
        return subprocess.run(inside, env=self.env, check=True, capture_output=True, text=True).stdout


def stages(file: Path) -> list[Stage]:
    """Return the stages of a Dockerfile."""
    text = re.sub(r"^#.*\n", "", file.read_text(), flags=re.MULTILINE)
    found: list[Stage] = []
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        instruction, _, argument = line.partition(" ")
        if instruction == "FROM":
            image, _, name = argument.partition(" AS ")
            found.append(Stage(image, name or "last", []))
        elif instruction:
            assert isinstance(found[-1].steps, list)
            found[-1].steps.append((instruction, argument))
    return found


def script(stages: Sequence[Stage], context: Path) -> str:
    """Return the shell commands that do what a build does. COPY takes what git knows."""
    lines = [BEGIN]
    for stage in stages:
        root, env, folder = f'"$TOP/{stage.name}.root"', "", "/"
        lines.append(f"begin {stage.name}")
        for instruction, argument in stage.steps:
            if instruction in ("ARG", "ENV"):
                env += f" {argument}"
            elif instruction == "WORKDIR":
                folder = argument
                lines.append(f"mkdir -p {root}{folder}")
            elif instruction == "RUN":
                run = f"cd {folder} && {argument}"
                lines.append(f"env{env} chroot {root} /bin/sh -ec {shlex.quote(run)}")
            elif instruction == "COPY":
                lines += _copy(argument.split(), root, folder, context)
    return "\n".join(lines)


def _copy(words: list[str], root: str, folder: str, context: Path) -> list[str]:
    """Return the commands of a COPY."""
    start = shlex.quote(str(context))
    if words[0].startswith("--from="):
        start, words = f'"$TOP/{words[0].removeprefix("--from=")}.root"', words[1:]
    *sources, target = words
    into = target if target.startswith("/") else f"{folder}/{target}"
    if start.startswith('"'):
        return [f"mkdir -p {root}{into} && cp -a {start}{one}/. {root}{into}" for one in sources]
    files = f"git -C {start} ls-files -z -- {' '.join(sources)}"
    return [f"{files} | tar -C {start} --null -T - -c | tar -C {root}{folder} --no-same-owner -x"]


@contextlib.contextmanager
def built(stages: Sequence[Stage], context: Path, top: Path) -> Iterator[Image]:
    """Run the steps, and yield what the last stage makes. Skips where that is impossible."""
    if os.geteuid() != 0 or subprocess.run([*UNSHARED, "true"], check=False, capture_output=True).returncode:
        pytest.skip("only root can make namespaces and a root folder for the image")
    steps = f"{script(stages, context)}\necho built\nexec sleep infinity\n"
    env = {**os.environ, "TOP": str(top), "PREFIX": sys.base_prefix}
    log = top.with_name(f"{top.name}.log")
    with log.open("wb") as complaints:
        builder = subprocess.Popen(
            [*UNSHARED, "bash", "-c", steps], env=env, stdout=subprocess.PIPE, stderr=complaints
        )
    try:
        assert builder.stdout is not None
        assert any(line == b"built\n" for line in builder.stdout), log.read_text()
        yield Image(stages[-1], top / f"{stages[-1].name}.root", builder.pid)
    finally:
        builder.kill()
        builder.wait()


class Container:
    """A command as process 1 of an image, as its user, in a network of its own."""

    def __init__(self, image: Image, command: Sequence[str], env: Mapping[str, str]) -> None:
        begun = [sys.executable, "-c", BEGUN, str(image.root), *image.ids, image.folder, *command]
        alone = ["unshare", "--net", "--pid", "--fork", "--kill-child", *begun]
        self._env = {**image.env, **env}
        self.process = subprocess.Popen(
            [*image.within, *alone],
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        self.pid = int(wait_until(children.read_text))

    def run(self, command: Sequence[str]) -> int:
        """Run another command inside, and return its exit code."""
        inside = ["nsenter", "--target", str(self.pid), "--net", "--root", "--wd"]
        return subprocess.run([*inside, *command], env=self._env, check=False, capture_output=True).returncode

    def said(self, text: str) -> None:
        """Wait for a line."""
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if text in line:
                return
        pytest.fail("".join(lines))

    def status(self, name: str) -> list[str]:
        """Return a line of what the kernel knows of process 1, as it sees itself."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(line.split()[1:] for line in lines if line.startswith(f"{name}:"))

    def stop(self) -> tuple[int, float]:
        """Send SIGTERM; return the exit code and how many seconds it took."""
        begun = time.monotonic()
        os.kill(self.pid, signal.SIGTERM)
        return self.process.wait(PATIENCE_S), time.monotonic() - begun
