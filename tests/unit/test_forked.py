"""A forked command (tests/forked.py) behaves like the installed one."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests import forked
from tests.conftest import HITL, PATIENCE_S, wait_until

if TYPE_CHECKING:
    from tests.conftest import Hitl

PROBE = """
import atexit, gc, json, locale, os, pathlib, signal, sys, tempfile, threading, time
from hitl_cli import plugins
streams = (sys.stdin, sys.stdout, sys.stderr)
facts = {
    "argv": sys.argv, "orig_argv": sys.orig_argv[1:], "path": sys.path, "flags": repr(sys.flags),
    "env": dict(os.environ), "cwd": os.getcwd(), "zone": time.tzname,
    "locale": locale.setlocale(locale.LC_ALL),
    "handlers": {s.name: repr(signal.getsignal(s)).split(" at ")[0] for s in signal.valid_signals()
                 if isinstance(s, signal.Signals)},
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "streams": [(s.name, s.encoding, s.errors, s.line_buffering, s.isatty()) for s in streams],
    "modes": [getattr(s, "mode", "") for s in streams],
    "numbers": [s.fileno() for s in streams],
    "own": [s is o for s, o in zip(streams, (sys.__stdin__, sys.__stdout__, sys.__stderr__))],
    "leads": (os.getpgid(0) == os.getpid(), os.getsid(0) == os.getpid()),
    "threads": [t.name for t in threading.enumerate()], "nice": os.nice(0), "umask": os.umask(0),
    "gc": (gc.isenabled(), gc.get_threshold()), "hook": repr(sys.excepthook).split(" at ")[0],
    "temporary": tempfile.gettempdir(), "exits": atexit._ncallbacks(),
    "year": time.gmtime(time.time()).tm_year, "plugins": plugins.added("hitl.commands"),
}
try:
    os.close(os.open("/dev/tty", os.O_RDWR))
    facts["terminal"] = True
except OSError:
    facts["terminal"] = False
if os.path.isdir("/proc/self/fd"):
    facts["open"] = len(os.listdir("/proc/self/fd"))
new = pathlib.Path(os.environ["FACTS"] + ".new")
new.write_text(json.dumps(facts, default=str))
new.replace(os.environ["FACTS"])
signal.pause()  # a worker without a workflow would end by itself
"""
"""An app that writes down which process imports it."""

TEN_YEARS_MS = 10 * 365 * 86_400_000


@pytest.fixture
def probe(hitl: Hitl) -> Hitl:
    (hitl.folder / "probe.py").write_text(PROBE)
    hitl.env |= {"TZ": "America/New_York", "FACTS": str(hitl.folder / "facts"), "ODD": "\udcff"}
    hitl.env["TMPDIR"] = str(hitl.folder)
    return hitl


def facts(hitl: Hitl, **given: Any) -> Any:
    """Return what the probe wrote down, in a command that was started so."""
    command = [HITL, "worker", "--app", "probe.py"]
    process = forked.Popen[bytes](command, env=hitl.env, cwd=hitl.folder, **given)
    wait_until((hitl.folder / "facts").exists)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE_S)
    found = json.loads((hitl.folder / "facts").read_text())
    (hitl.folder / "facts").unlink()
    return found, process.returncode


@pytest.mark.parametrize("added", [[], sorted(forked.ADDED)], ids=["", "added"])
def test_it_is_the_same_process_but_for_its_birth(probe: Hitl, added: list[str]) -> None:
    given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    session = bool(added)
    if added:
        probe.env |= {"PYTHONPATH": os.pathsep.join(added), "CLOCK_AHEAD_MS": str(TEN_YEARS_MS)}
        probe.env["PYTHONIOENCODING"] = "ascii:strict"
    forks, real = (facts(probe, **given, start_new_session=session, real=real) for real in (False, True))
    assert forks == real
    assert bool(forks[0]["plugins"]) == bool(added)


def test_it_has_the_terminal_that_the_installed_one_has(probe: Hitl) -> None:
    found = []
    for real in (False, True):
        ours, theirs = pty.openpty()
        found.append(facts(probe, stdin=theirs, stdout=theirs, stderr=theirs, terminal=True, real=real))
        os.close(theirs)
        os.close(ours)
    assert found[0] == found[1]
    assert found[0][0]["terminal"]


def test_it_ends_as_the_installed_one(hitl: Hitl) -> None:
    for ends in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        codes = []
        for real in (False, True):
            process = forked.Popen[bytes](
                [HITL, "worker"], env=hitl.env, cwd=hitl.folder, stdout=subprocess.PIPE, real=real
            )
            assert process.stdout is not None
            process.stdout.readline()  # it serves
            assert process.poll() is None
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=0.01)
            process.send_signal(ends)
            process.communicate(timeout=PATIENCE_S)
            codes.append(process.returncode)
        assert codes[0] == codes[1], ends


def test_what_python_itself_is_told_is_really_executed(hitl: Hitl) -> None:
    told = {
        "PYTHONPATH": str(hitl.folder),
        "PYTHONUTF8": "1",
        "LC_ALL": "C.UTF-8",
        "FORCE_COLOR": "1",
    }
    command = [HITL, "--version"]
    assert forked.Popen[bytes](command, env=hitl.env, stdout=subprocess.DEVNULL)._forks
    for name, value in told.items():
        env = {**hitl.env, name: value}
        assert not forked.Popen[bytes](command, env=env, stdout=subprocess.DEVNULL)._forks, name
