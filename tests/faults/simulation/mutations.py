"""Changed scripts for a simulation: is it noticed? A folder in the layout of `lua/`, or edits of single files of it."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from shutil import copytree

from tests.faults.simulation.real_server import Mutate

LUA = Path(__file__).parents[3] / "lua"
_INCLUDE = re.compile(r"^-- @include (lib/\w+\.lua)$", re.MULTILINE)


def scripts_from(folder: Path | None) -> Mutate:
    """What runs the script of the same name from another folder; without one, every script as it is."""
    if folder is None:
        return lambda _, text: text
    return lambda name, text: _inline(folder, f"{name}.lua", set()) if name != "?" else text


def _inline(folder: Path, name: str, seen: set[str]) -> str:
    if name in seen:
        return ""
    seen.add(name)
    text = (folder / name).read_text(encoding="utf-8")
    return _INCLUDE.sub(lambda found: _inline(folder, found[1], seen), text)


def edited(edits: dict[str, tuple[str, str]]) -> Mutate:
    """With some lines of some files of `lua/` replaced: by file name, what is there now and what takes its place."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(copytree(LUA, Path(place) / "lua"))
        for name, (before, after) in edits.items():
            text = (folder / name).read_text(encoding="utf-8")
            assert text.count(before) == 1, f"{name} has {text.count(before)} times: {before}"
            (folder / name).write_text(text.replace(before, after), encoding="utf-8")
        texts = {path.stem: _inline(folder, path.name, set()) for path in folder.glob("*.lua")}
    return texts.get
