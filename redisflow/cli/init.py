"""`redisflow init`: a small project that runs, with its tests. It writes what is not there, and never over anything.

The files stand in `new_project`, as they are written; a folder there is laid over the one before it.
"""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from redisflow.cli.exits import EXIT_CONFLICT
from redisflow.cli.output import note, write_line
from redisflow.words import first_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.resources.abc import Traversable

TEMPLATES = "new_project"
LAYERS: Mapping[str, tuple[str, ...]] = {
    "order": ("every", "order"),
    "fastapi": ("every", "order", "fastapi"),
    "django": ("every", "django"),
    "minimal": ("every", "minimal"),
}
HIDDEN = {"gitignore": ".gitignore"}
"""Under their own names they would be about this package."""
MAY_BE_THERE = frozenset({".git", ".venv", ".idea", ".vscode", ".DS_Store"})
"""What a folder may hold and still be taken for an empty one."""


def init(
    folder: Annotated[Path | None, Parameter(help="where; it is made if it is not there")] = None,
    /,
    *,
    fastapi: Annotated[bool, Parameter(negative=(), help="with a FastAPI application that starts runs")] = False,
    django: Annotated[bool, Parameter(negative=(), help="as a Django project")] = False,
    minimal: Annotated[bool, Parameter(negative=(), help="one workflow of one step")] = False,
    yes: Annotated[
        bool,
        Parameter(alias="-y", negative=(), help="also where there are files; those that exist are left as they are"),
    ] = False,
) -> int:
    """Write a small project that runs: workflows, tests, settings. Nothing is overwritten."""
    chosen = [name for name, is_meant in (("fastapi", fastapi), ("django", django), ("minimal", minimal)) if is_meant]
    if len(chosen) > 1:
        msg = f"one kind of project at a time, not {' and '.join(f'--{name}' for name in chosen)}"
        raise ValueError(msg)
    target = folder or Path()
    if target.exists() and not target.is_dir():
        msg = f"{target} is a file"
        raise ValueError(msg)
    planned = read_project(chosen[0] if chosen else "order")
    there = sorted(path for path in planned if os.path.lexists(target / path) or _leads_elsewhere(target, path))
    others = _others(target)
    if others and not yes:
        _explain(target, there, others)
        return EXIT_CONFLICT
    for path, content in planned.items():
        if path in there:
            note(f"left as it is: {path}")
        else:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            with (target / path).open("xb") as file:  # not over one that came meanwhile
                file.write(content)
            write_line(path)
    _say_what_is_next(target)
    return 0


def read_project(kind: str) -> dict[str, bytes]:
    """What a project of this kind consists of, by relative path."""
    found: dict[str, bytes] = {}
    for layer in LAYERS[kind]:
        found.update(_files_in(files("redisflow.cli") / TEMPLATES / layer, ""))
    return dict(sorted(found.items()))


def _files_in(folder: Traversable, before: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            if entry.name != "__pycache__":
                yield from _files_in(entry, f"{before}{entry.name}/")
        else:
            yield before + HIDDEN.get(entry.name, entry.name), entry.read_bytes()


def _others(target: Path) -> list[str]:
    if not target.is_dir():
        return []
    return sorted(entry.name for entry in target.iterdir() if entry.name not in MAY_BE_THERE)


def _leads_elsewhere(target: Path, path: str) -> bool:
    """Whether a folder on the way is a link: what is behind it is no part of the new project."""
    return any((target / folder).is_symlink() for folder in Path(path).parents if folder.name)


def _explain(target: Path, there: list[str], others: list[str]) -> None:
    note(f"redisflow: {target.absolute()} is not empty, and nothing was written. In it: {first_of(others)}")
    if there:
        note(f"These would not be written, they exist: {', '.join(there)}")
    note("`redisflow init --yes` writes the others beside what is there; `redisflow init NAME` makes a new folder.")


def _say_what_is_next(target: Path) -> None:
    note("")
    if target.resolve() != Path.cwd():
        note(f"  cd {target}")
    note("  redisflow dev      # a server, a worker and the dashboard; README.md has the rest")
