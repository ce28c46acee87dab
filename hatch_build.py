"""Joins the files of `lua/` into the one that a wheel has: redisflow/backend/script_files.py says why and reads it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class JoinedScripts(BuildHookInterface[Any]):
    """Adds `redisflow/lua/scripts.lua` to a wheel. An editable installation reads `lua/` where it is."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the file beside the project, in a folder that ends with the build."""
        if version == "editable":
            return
        folder = Path(self.root) / "lua"
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.lua"))
        self._place = tempfile.TemporaryDirectory()
        joined = Path(self._place.name) / "scripts.lua"
        texts = (f"--- {name}\n{(folder / name).read_text(encoding='utf-8')}" for name in names)
        joined.write_text("".join(texts), encoding="utf-8")
        build_data["force_include"][str(joined)] = "redisflow/lua/scripts.lua"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Leave nothing behind."""
        del build_data, artifact_path
        if version != "editable":
            self._place.cleanup()
