"""Plugins: entry points of installed packages (docs/guides/plugins.md). hitl's own parts are plugins, too.

The entry points are read from the metadata files directly: importing importlib.metadata takes 30 ms, a third
of `hitl pending`.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from hitl_cli.errors import HitlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TypeGuard

type Group = Literal["hitl.servers", "hitl.channels", "hitl.authenticators", "hitl.commands"]

type _Found = Mapping[tuple[str, str], Plugin]

OWN = "resonate_hitl"
"""The name of this package, as in the name of its metadata folder."""

_PREFIX = "hitl."

_METADATA = (".dist-info", ".egg-info")
"""Suffixes of the metadata folders of packages."""


class NotInstalled(HitlError):
    """The metadata of hitl itself is missing or of another version."""

    code = "not-installed"


class Plugin(NamedTuple):
    """An entry point: `place` is `module` or `module:name`, `package` the package that has it.

    It is a NamedTuple because `hitl --version` and `--help` do not import msgspec.
    """

    group: str
    name: str
    place: str
    package: str


def find(group: Group, name: str) -> Plugin | None:
    """Return the plugin with a name; hitl's own takes precedence. Raises NotInstalled.

    Other packages are searched only for a name that hitl does not have.
    """
    return _own().get((group, name)) or _others().get((group, name))


def every(group: Group) -> dict[str, Plugin]:
    """Return all plugins of a group by name, hitl's own first. Raises NotInstalled."""
    return {plugin.name: plugin for plugin in [*_own().values(), *added(group)] if plugin.group == group}


def added(group: Group) -> list[Plugin]:
    """Return the plugins of a group that other packages add, by name. Raises NotInstalled."""
    found = [plugin for key, plugin in _others().items() if plugin.group == group and key not in _own()]
    return sorted(found, key=lambda plugin: plugin.name)


def load[T](plugin: Plugin, fits: Callable[[object], TypeGuard[T]]) -> T | None:
    """Return the object that a plugin names; None if it fails to load or `fits` refuses it.

    That is logged once. An error in hitl's own plugins is raised.
    """
    if plugin.package == OWN:
        found = _import(plugin.place)
        assert fits(found), plugin
        return found
    found = _imported(plugin)
    if found is None or fits(found):
        return found
    report(plugin, "it does not have the interface that docs/guides/plugins.md describes")
    return None


@cache
def report(plugin: Plugin, why: str) -> None:
    """Log, once, that a plugin is ignored. Without logging configuration this is a line on stderr."""
    import logging

    logging.getLogger(__name__).warning(
        "hitl: ignoring the plugin %r of %s (%s): %s", plugin.name, plugin.package, plugin.group, why
    )


def reason_of(error: BaseException) -> str:
    """Return a plugin's error on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


@cache
def _imported(plugin: Plugin) -> object | None:
    """Return the object that a plugin names; None if it fails to load."""
    try:
        return _import(plugin.place)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a broken plugin must not break the command
        report(plugin, reason_of(error))
        return None


def _import(place: str) -> object:
    """Return a module, or the object with a name in it."""
    module, _, name = place.partition(":")
    found: object = import_module(module)
    for part in name.split(".") if name else ():
        found = getattr(found, part)
    return found


@cache
def _own() -> _Found:
    """Return hitl's own plugins. Raises NotInstalled."""
    found = _read(folder for folder in _folders() if _package_of(folder) == OWN)
    if not found:
        raise NotInstalled(
            "the installed metadata of hitl is missing or of another version: reinstall hitl with pip or uv."
        )
    return found


@cache
def _others() -> _Found:
    """Return the plugins of other packages."""
    return _read(folder for folder in _folders() if _package_of(folder) != OWN)


def _folders() -> Iterator[Path]:
    """Yield the metadata folders of the installed packages, in the order of sys.path."""
    seen = set()
    for place in dict.fromkeys(sys.path):
        try:
            with os.scandir(place or ".") as entries:  # twice as fast as Path.iterdir
                folders = sorted(each.path for each in entries if each.name.endswith(_METADATA))
        except OSError:
            continue  # a missing folder, or a zip file
        for folder in map(Path, folders):
            if (package := _package_of(folder)) not in seen:
                seen.add(package)
                yield folder


def _package_of(folder: Path) -> str:
    """Return the package of a metadata folder."""
    return folder.name.partition("-")[0].lower()


def _read(folders: Iterator[Path]) -> _Found:
    """Return the entry points for hitl in folders; the first one with a name counts."""
    found: dict[tuple[str, str], Plugin] = {}
    for folder in folders:
        try:
            text = (folder / "entry_points.txt").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue  # most packages have none
        for plugin in _plugins_in(text, _package_of(folder)):
            found.setdefault((plugin.group, plugin.name), plugin)
    return found


def _plugins_in(text: str, package: str) -> Iterator[Plugin]:
    """Yield the entry points for hitl in the text of an entry_points.txt (packaging.python.org)."""
    group = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            group = line.strip("[]").strip()
        elif group.startswith(_PREFIX) and "=" in line and line[0] not in "#;":
            name, _, place = line.partition("=")
            yield Plugin(group, name.strip(), place.partition("[")[0].replace(" ", ""), package)
