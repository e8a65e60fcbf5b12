"""`hitl init`: write the files of a new project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from hitl_cli.cli.options import argument, flag
from hitl_cli.cli.output import note
from hitl_cli.format.shell import quoted
from hitl_cli.format.terminal import printable


def init(
    folder: Annotated[Path | None, argument("[FOLDER]", "Folder of the project. Default: this one.")] = None,
    dry_run: Annotated[bool, flag("Only show what would be written.", "--dry-run")] = False,
    show: Annotated[bool, flag("Print the files instead of writing them.", "--print")] = False,
) -> None:
    """Write a new project: a workflow that asks, its test, settings and a README. Overwrites nothing."""
    from hitl_cli.admin.project import SETTINGS, WORKFLOWS, new_project, write
    from hitl_cli.settings import Settings

    folder = folder or Path()
    project = new_project(folder.absolute())
    if show:
        print("\n".join(f"# ---- {file.name}\n{file.text}" for file in project), end="")
        return
    if not dry_run:
        write(folder.absolute(), project)
    for file in project:
        said = ("would write" if dry_run else "wrote") if file.kept is None else "kept"
        print(printable(f"{said} {folder / file.name}" + (f" ({file.kept})" if file.kept else "")))
    if dry_run:
        return
    settings = Settings({}, folder.absolute())
    served = [app.value for app in settings.apps([])]
    if str(folder.absolute() / WORKFLOWS) not in served:
        add = f'add "{WORKFLOWS}" to the list app in' if served else f'add app = "{WORKFLOWS}" to'
        where = settings.path.name if settings.path else SETTINGS
        note(f"A worker here does not serve {WORKFLOWS} yet: {add} {where}.")
    enter = "" if folder.absolute() == Path.cwd() else f"cd {quoted(str(folder))} && "
    note(f"Next: {enter}hitl dev")
