"""Forks `hitl` commands for `tests/forked.py`, from a process that has imported everything.

It is a program, run by a fresh interpreter. A child becomes what the installed script would be: descriptors,
signals, environment, arguments and folder are those that the test gave. Only its end differs: it joins its
threads, runs exit handlers, collects garbage and flushes, and leaves the modules that it shares with others.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import functools
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import sys
import tempfile
import termios
import threading
import time
import types
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HEAD = 4
"""Bytes that say how long a request is. The descriptors come with them."""

IMMORTAL = 0xFFFF_FFFF
"""A count of references that CPython neither raises nor lowers."""

MADV_COLLAPSE = 25
HUGE = 2 * 1024 * 1024
"""Bytes of a huge page."""

WARMED = (
    ("start", "hitl-001"),
    ("pending",),
    ("pending", "--json"),
    ("show", "unknown"),
    ("approve", "unknown"),
    ("history",),
)
"""Commands that run what most commands run."""

LAZY = (
    "aiosmtplib",
    "encodings.idna",
    "encodings.utf_16_be",
    "encodings.utf_8_sig",
    "jsonschema_rs",
    "platformdirs",
    "rfc8785",
    "segno",
    "tomllib",
    "typer._click.decorators",
    "typer._completion_classes",
    "typer.rich_utils",
)
"""Imported by what hitl calls, or within its functions, and not by a module of hitl."""

LEFT_OUT = (
    "hitl_cli.agents.durable_tools",
    "hitl_cli.agents.pydantic_ai",
    "hitl_cli.agents.openai_agents",
    "hitl_cli.agents.langgraph",
    "hitl_cli.mcp.server",
    "hitl_cli.mcp.tasks",
)
"""Modules that import an extra: few tests use it, and only `make frameworks` installs the frameworks."""


class Child(NamedTuple):
    """A process that was forked."""

    asked_by: socket.socket
    status: int
    """The descriptor on which its exit code is told."""


def preload(program: str) -> None:
    """Import all that a command may need, as the installed script would find it."""
    sys.path[0] = os.path.dirname(program)  # noqa: PTH120 - as Python does
    import hitl_cli

    modules = [module.name for module in pkgutil.walk_packages(hitl_cli.__path__, "hitl_cli.")]
    for name in (*modules, *LAZY):
        if not name.endswith("__main__") and name not in LEFT_OUT:
            importlib.import_module(name)
    assert threading.active_count() == 1  # a thread would not be there after a fork, and its locks would
    templates = runpy.run_path(f"{os.path.dirname(__file__)}/templates.py")  # noqa: PTH120 - imports no more
    templates["keep_compiled"]()
    templates["compile_all"]()
    read_parameters()
    if "coverage" in sys.modules:
        forget_measured()
    else:
        warm_up(program)
    gc.collect()
    make_immortal(gc.get_objects())
    gc.freeze()
    use_huge_pages()


def make_immortal(objects: list[Any]) -> None:
    """Have CPython no longer count references to these objects, nor to what they refer to (PEP 683).

    A child would write the count of what it only reads, and so copy the pages where that lies: a third of all
    that a short command takes. None of them is freed before the process ends.
    """
    seen = {id(objects)}
    while objects:
        each = objects.pop()
        if id(each) not in seen and not isinstance(each, types.FrameType):
            seen.add(id(each))
            objects += gc.get_referents(each)
            if isinstance(each, types.CodeType):
                objects += each.co_consts  # the collector does not look into code
            ctypes.c_uint32.from_address(id(each)).value = IMMORTAL


def warm_up(program: str) -> None:
    """Run some commands twice: CPython rewrites the code that runs, which is as much again as to copy counts.

    What they change in this process is put back. They keep what they computed, as names by their folded form.
    """
    env, arguments, threshold = dict(os.environ), sys.argv[:], gc.get_threshold()
    register = atexit.register
    atexit.register = lambda function, *_, **__: function  # type: ignore[assignment]
    with (
        tempfile.TemporaryDirectory() as place,
        contextlib.chdir(place),
        open(os.devnull, "w") as nowhere,  # noqa: PTH123 - imports no more
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        os.environ.update(HITL_AS="nobody", HITL_DB=f"{place}/hitl.db", XDG_CONFIG_HOME=place)
        for command in 2 * WARMED:
            sys.argv[:] = [program, *command]
            run()
    atexit.register = register
    tempfile.tempdir = None
    sys.excepthook = sys.__excepthook__
    os.environ.clear()
    os.environ.update(env)
    sys.argv[:] = arguments
    gc.set_threshold(*threshold)
    assert threading.active_count() == 1


def use_huge_pages() -> None:
    """Have Linux keep memory in pages of 2 MB: a fork copies fewer entries, and finds them sooner.

    It is no failure where the kernel cannot (madvise(2), MADV_COLLAPSE, since Linux 6.1).
    """
    if sys.platform != "linux":
        return
    madvise = ctypes.CDLL(None).madvise
    with open("/proc/self/maps") as maps:  # noqa: PTH123 - imports no more
        writable = [line.split()[0] for line in maps if " rw-p 00000000 00:00 0" in line]
    for both in writable:
        begin, end = (int(each, 16) for each in both.split("-"))
        for page in range(-(-begin // HUGE) * HUGE, end - HUGE + 1, HUGE):
            madvise(ctypes.c_void_p(page), ctypes.c_size_t(HUGE), MADV_COLLAPSE)


def read_parameters() -> None:
    """Have Typer read the signatures of all commands: that is a third of what a short command takes."""
    import typer.main

    from hitl_cli.cli.app import app

    main: Any = typer.main
    main.get_params_from_function = functools.cache(main.get_params_from_function)
    commands = main.get_command(app)
    for name in commands.list_commands(None):
        commands.get_command(None, name)


def forget_measured() -> None:
    """Write what `make coverage` has measured so far, so that a child writes only what it runs itself.

    Its tracer goes on in a fork, with all that it knows of each file: to start again would take longer.
    """
    from coverage import Coverage

    if (measured := Coverage.current()) is not None and measured._collector is not None:
        measured.save()
        for lines in measured._collector.data.values():
            lines.clear()


def serve(listening: socket.socket) -> dict[str, Any] | None:
    """Fork for the processes of a test run, each with a connection, whose end ends what was forked for it.

    Return None when the last one has ended; in a child, what it was asked to be.
    """
    children: dict[int, Child] = {}
    woken, wakes = socket.socketpair()
    wakes.setblocking(False)
    signal.set_wakeup_fd(wakes.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as selector:
        selector.register(listening, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        idle = len(selector.get_map())
        while True:
            for key, _ in selector.select():
                asking: Any = key.fileobj
                if asking is woken:
                    woken.recv(4_096)
                    reap(children)
                elif asking is listening:
                    selector.register(listening.accept()[0], selectors.EVENT_READ)
                elif (request := received(asking)) is None:
                    kill(pid for pid, child in children.items() if child.asked_by is asking)
                    selector.unregister(asking)
                    asking.close()
                    if len(selector.get_map()) == idle:
                        return None
                else:
                    pid = os.fork()
                    if pid == 0:
                        return request
                    children[pid] = Child(asking, request["fds"].pop())
                    for descriptor in request["fds"]:
                        os.close(descriptor)
                    asking.sendall(pid.to_bytes(HEAD))


def received(connection: socket.socket) -> dict[str, Any] | None:
    """Return the next request, with its descriptors; None where the tests have ended."""
    head, descriptors, _, _ = socket.recv_fds(connection, HEAD, 4)
    if not head:
        return None
    body = b""
    while len(body) < int.from_bytes(head):
        body += connection.recv(int.from_bytes(head) - len(body))
    return {**json.loads(body), "fds": descriptors}


def kill(pids: Iterable[int]) -> None:
    """End these children at once."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def reap(children: dict[int, Child]) -> None:
    """Tell how those children ended that have."""
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        told = children.pop(pid).status
        with contextlib.suppress(BrokenPipeError):  # a test that does not wait for it
            os.write(told, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(told)


def become(request: dict[str, Any], *, interruptible: bool) -> None:
    """Make this process what a fresh interpreter of that command is."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler if interruptible else signal.SIG_IGN)
    if request["session"]:
        os.setsid()
    if request["group"] is not None:
        os.setpgid(0, request["group"])
    for number, descriptor in enumerate(request["fds"][:3]):
        os.dup2(descriptor, number)
    os.closerange(3, 1_024)
    if request["terminal"]:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(request["cwd"])
    coerced = {name: os.environ[name] for name in ("LC_CTYPE",) if name in os.environ}  # as PEP 538 sets it
    os.environ.clear()
    os.environ.update({**coerced, **request["env"]})
    time.tzset()
    sys.path[0] = os.path.dirname(request["argv"][0])  # noqa: PTH120 - as Python does
    if added := path_of(request["env"]):
        add(added)
    sys.argv[:] = request["argv"]
    sys.orig_argv[:] = [sys.executable, *request["argv"]]
    told = request["env"].get("PYTHONIOENCODING", "")
    sys.stdin = sys.__stdin__ = stream(0, sys.stdin, told)  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = stream(1, sys.stdout, told)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = stream(2, sys.stderr, told)  # type: ignore[misc]


def path_of(env: Mapping[str, str]) -> list[str]:
    """Return the folders that an environment adds to Python's path."""
    return [folder for folder in env.get("PYTHONPATH", "").split(os.pathsep) if folder]


def add(folders: list[str]) -> None:
    """Do with the folders of PYTHONPATH what Python does with them as it starts."""
    from hitl_cli import plugins

    sys.path[1:1] = folders
    plugins._others.cache_clear()
    for folder in folders:
        if os.path.exists(program := f"{folder}/sitecustomize.py"):  # noqa: PTH110 - imports no more
            runpy.run_path(program)


def stream(descriptor: int, like: Any, told: str) -> io.TextIOWrapper:
    """Return a standard stream as Python opens it at its start."""
    raw = io.FileIO(descriptor, "r" if descriptor == 0 else "w", closefd=False)
    lines = descriptor == 2 or raw.isatty()
    buffered = io.BufferedReader(raw) if descriptor == 0 else io.BufferedWriter(raw)
    raw.name = like.name
    encoding, _, errors = told.partition(":")
    errors = like.errors if descriptor == 2 or not told else errors or "strict"
    made = io.TextIOWrapper(buffered, encoding or like.encoding, errors, newline="\n", line_buffering=lines)
    made.mode = "r" if descriptor == 0 else "w"  # type: ignore[misc]
    return made


def run() -> int:
    """Do what the installed script does, or another program, and return the exit code."""
    try:
        if sys.argv[0].endswith(".py"):
            runpy.run_path(sys.argv[0], run_name="__main__")
            return 0
        from hitl_cli.cli import main

        sys.exit(main())  # type: ignore[func-returns-value]
    except SystemExit as end:
        if isinstance(end.code, int) or end.code is None:
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:  # noqa: BLE001 - as Python ends a program
        sys.excepthook(*sys.exc_info())
        return 1


def end(code: int) -> None:
    """End this process as Python ends it, but for the modules."""
    threading._shutdown()  # type: ignore[attr-defined]
    gc.collect()  # which warns of what was left open or never awaited; hitl freezes it at exit
    atexit._run_exitfuncs()
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        code = 120
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code & 0xFF)


if __name__ == "__main__":
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for pytest, whose end ends this
    preload(sys.argv[1])
    asked = serve(socket.socket(fileno=int(sys.argv[2])))
    if asked is not None:
        become(asked, interruptible=interruptible)
        end(run())
