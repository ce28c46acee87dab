"""Finds the RedisFlow object that a command is about: `module:name`, or `path/to/file.py:name`."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
import sysconfig
from pathlib import Path
from traceback import walk_tb
from types import ModuleType

from redisflow.cli.discovery import HOW
from redisflow.cli.exits import AppBroken, BadTarget
from redisflow.flow import RedisFlow


def load_flow(target: str) -> RedisFlow:
    """Import it; the working directory comes first on the path, as with `python -m`."""
    where, _, name = target.rpartition(":")
    if not where or not name:
        msg = f"{target!r} does not name a RedisFlow object: write module:name (e.g. shop.workflows:flow)"
        raise BadTarget(msg)
    module = import_target(where)
    flow = getattr(module, name, None)
    if not isinstance(flow, RedisFlow):
        found = ", ".join(key for key, value in vars(module).items() if isinstance(value, RedisFlow)) or "none"
        msg = f"{where} has no RedisFlow object named {name!r} (found: {found})"
        raise BadTarget(msg)
    return flow


def load_for_command(target: str, what_else: str | None) -> RedisFlow:
    """`load_flow`, for a command: what goes wrong in the code of users is AppBroken, with their own line.

    `what_else` is how the command is given without the app, where it can be.
    """
    try:
        return load_flow(target)
    except BadTarget:
        raise
    except (Exception, SystemExit) as error:
        says = error.msg if isinstance(error, SyntaxError) else str(error)
        msg = f"{target} cannot be imported: {_place_of(error)}{type(error).__name__}: {says}"
        what_to_do = ["--debug has the traceback", *([what_else] if what_else else [])]
        raise AppBroken(msg, "; ".join(what_to_do)) from error


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


def import_target(where: str) -> ModuleType:
    """Import a module by its name, or a file by its path."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    return _import_file(Path(where)) if where.endswith(".py") else _import_module(where)


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        msg = f"no module {name!r} can be imported from {Path.cwd()}"
        raise BadTarget(msg) from error


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        msg = f"there is no file {path}"
        raise BadTarget(msg)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None  # noqa: S101  # a .py file always has one
    assert spec.loader is not None  # noqa: S101  # see above
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


_OTHERS = (
    str(Path(__file__).parents[1]),
    "<",
    *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
)
"""Where code is that no user has written: `<frozen importlib>` is some of it."""


def _place_of(error: BaseException) -> str:
    """`workflows.py:3: `, the last line of the user's own that led to it; nothing where there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        place, line = error.filename, error.lineno
    else:
        frames = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
        own = [(place, line) for place, line in frames if not place.startswith(_OTHERS)]
        if not own:
            return ""
        place, line = own[-1]
    path = Path(place)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{shown}:{line}: "
