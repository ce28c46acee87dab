"""Where the values of options come from: a flag, else the environment, else a file of the project, else a default."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

DEV = "redisflow dev, which runs here"
"""Where a URL comes from that nobody has said."""
DEFAULTS: Mapping[str, str | None] = {"url": "redis://localhost:6379/0", "namespace": "default", "app": None}


@dataclass(frozen=True, slots=True)
class Setting:
    """A value, and where it was said."""

    value: str | None = field(repr=False)
    """A URL may have a password."""
    source: str


class BadSettings(ValueError):
    """A file of settings that cannot be used."""


def read_settings(flags: Mapping[str, str | None], folder: Path | None = None) -> dict[str, Setting]:
    """Each setting: `url`, `namespace`, `app` (module:name of a RedisFlow object). BadSettings."""
    path, stored = find_file(folder or Path.cwd())
    found: dict[str, Setting] = {}
    for name, default in DEFAULTS.items():
        variable = f"REDISFLOW_{name.upper()}"
        if flags.get(name) is not None:
            found[name] = Setting(flags[name], f"--{name}")
        elif os.environ.get(variable):
            found[name] = Setting(os.environ[variable], variable)
        elif name in stored:
            found[name] = Setting(stored[name], str(path))
        else:
            found[name] = Setting(default, "default")
    if found["url"].source == "default" and (url := _find_dev(folder or Path.cwd())) is not None:
        found["url"] = Setting(url, DEV)
    return found


def follow_dev(settings: Mapping[str, Setting]) -> None:
    """Point an app that is about to be imported, and leaves its URL to the environment, at a `redisflow dev`."""
    if settings["url"].source == DEV:
        os.environ.setdefault("REDISFLOW_URL", settings["url"].value or "")


def _find_dev(folder: Path) -> str | None:
    """The server of a `redisflow dev` that runs here or above."""
    if not any((place / ".redisflow" / "dev.lock").is_file() for place in (folder, *folder.parents)):
        return None
    from redisflow.cli.dev.running import find_running  # noqa: PLC0415  # not on Windows, where there is none

    running = find_running(folder)
    return None if running is None else running.url


def find_file(folder: Path) -> tuple[Path | None, Mapping[str, str]]:
    """The nearest `redisflow.toml`, or `pyproject.toml` with `[tool.redisflow]`, here or above; and what it says."""
    for place in (folder, *folder.parents):
        for name, keys in (("redisflow.toml", ()), ("pyproject.toml", ("tool", "redisflow"))):
            path = place / name
            if path.is_file():
                table = _read(path)
                for key in keys:
                    table = table.get(key, {})
                if table or not keys:
                    return path, _check(path, table)
    return None, {}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read: {error}"
        raise BadSettings(msg) from error


def _check(path: Path, table: Any) -> Mapping[str, str]:
    if not isinstance(table, dict):
        msg = f"{path}: [tool.redisflow] is a table of settings"
        raise BadSettings(msg)
    said = cast("dict[str, object]", table)
    for name, value in said.items():
        if name not in DEFAULTS:
            msg = f"{path}: there is no setting {name!r} (there are {', '.join(DEFAULTS)})"
            raise BadSettings(msg)
        if not isinstance(value, str):
            msg = f"{path}: {name} is a text"
            raise BadSettings(msg)
    return cast("dict[str, str]", said)
