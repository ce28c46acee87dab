"""Which code is meant where nobody says so: `workflows.py`, or the package `workflows`. Nothing is imported for it."""

from __future__ import annotations

from pathlib import Path

HOW = 'say which: MODULE:NAME, or app = "MODULE:NAME" in redisflow.toml'


def guess_target(folder: Path) -> str | None:
    """`workflows` where this folder has a module or a package of that name."""
    is_there = (folder / "workflows.py").is_file() or any((folder / "workflows").glob("*.py"))
    return "workflows" if is_there else None
