"""The Lua files as they were written: a folder in a checkout, one text file in a wheel.

Some 230 small files take more room in a wheel for their names and checksums than for what they say, and as long to
open as to read. So a wheel has them one after the other in `redisflow/lua/scripts.lua`, each under a line with its
name (`--- lib/clock.lua`); `hatch_build.py` writes it. A checkout reads the folder `lua/`, where they are edited.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_NAME = re.compile(r"^--- ((?:lib/)?\w+\.lua)\n", re.MULTILINE)


@cache
def script_files() -> Mapping[str, str]:
    """The text of each file by its name in `lua/`, in the order of the names."""
    package = Path(__file__).parents[1]
    joined = package / "lua" / "scripts.lua"
    if joined.is_file():
        return split(joined.read_text(encoding="utf-8"))
    folder = package.parent / "lua"
    paths = sorted(folder.rglob("*.lua"))
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def split(joined: str) -> dict[str, str]:
    """The files that a wheel has in one."""
    _, *parts = _NAME.split(joined)
    return dict(zip(parts[::2], parts[1::2], strict=True))
