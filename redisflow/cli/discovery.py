"""Which RedisFlow object is meant where nobody says so exactly: the one in `workflows.py`, or in a module of `workflows/`.

Looking for it imports the code of users, as naming it does.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from redisflow.cli.exits import BadTarget
from redisflow.cli.target import import_target, load_flow
from redisflow.flow import RedisFlow

HOW = "say which: MODULE:NAME, or app = \"MODULE:NAME\" in redisflow.toml"


def guess_target(folder: Path) -> str | None:
    """`workflows` where this folder has a module or a package of that name."""
    is_there = (folder / "workflows.py").is_file() or any((folder / "workflows").glob("*.py"))
    return "workflows" if is_there else None


def load_app(target: str) -> tuple[str, RedisFlow]:
    """The object, and its whole name; `target` may leave the name out. BadTarget where there is not exactly one."""
    if ":" in target:
        return target, load_flow(target)
    module = import_target(target)
    modules = [module, *_modules_in(module)]
    found: dict[int, tuple[str, RedisFlow]] = {}
    for each in modules:
        for name, value in vars(each).items():
            if isinstance(value, RedisFlow):
                found.setdefault(id(value), (f"{each.__name__}:{name}", value))
    if len(found) != 1:
        names = ", ".join(name for name, _ in found.values()) or "none"
        msg = f"{target} has {len(found)} RedisFlow objects ({names}): {HOW}"
        raise BadTarget(msg)
    (only,) = found.values()
    return only


def _modules_in(package: ModuleType) -> list[ModuleType]:
    """Imported: each may define workflows of the same flow."""
    path = getattr(package, "__path__", ())
    return [importlib.import_module(each.name) for each in pkgutil.walk_packages(path, f"{package.__name__}.")]
