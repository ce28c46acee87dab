"""Where a fresh interpreter finds a flow of this one: `module:name`, or `file.py:name` for the script that runs here.

Nothing is sent but names: the other process imports the same modules, and says what it found there. The hard thing is
to see when that is not the same: a flow that a function made, one whose workflows are defined elsewhere.
"""

from __future__ import annotations

import json
import os
import site
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from redisflow.authoring.definition import Registry
from redisflow.errors import InvalidWorkflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a process serves: which flow, and its workflows (`name`, or `name@version`)."""

    flow: str
    """As it shows itself: the URL without its password, and the namespace."""
    workflows: tuple[str, ...]

    def to_line(self) -> bytes:
        """As one process says it to another."""
        return json.dumps({"flow": self.flow, "workflows": self.workflows}).encode() + b"\n"

    @classmethod
    def of_line(cls, line: bytes) -> Self:
        """As it was said."""
        said: dict[str, Any] = json.loads(line)
        return cls(flow=str(said["flow"]), workflows=tuple(map(str, said["workflows"])))


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a worker process is to import, and what is to be found there."""

    flow: str
    """`module:name`, or `path/to/file.py:name`."""
    imports: tuple[str, ...] = ()
    """More modules or files: those that define workflows of the flow."""
    path: tuple[str, ...] = ()
    """Folders to import from, besides those that an interpreter has by itself."""
    served: Served | None = None
    """What this process serves; None where it did not look."""

    def check(self, found: Served) -> None:
        """InvalidWorkflow where the other process has imported something else than this one has."""
        wanted = self.served
        if wanted is None:
            return
        if found.flow != wanted.flow:
            msg = (
                f"worker processes import {self.flow} and find {found.flow} there, not {wanted.flow}: make the flow at "
                "the top level of its module, from what every process can read (a constant, the environment)"
            )
            raise InvalidWorkflow(msg)
        if missing := sorted(set(wanted.workflows) - set(found.workflows)):
            msg = (
                f"worker processes import {', '.join((self.flow, *self.imports))} and find no workflow "
                f"{', '.join(missing)} there: define it at the top level of a module, not inside a function"
            )
            raise InvalidWorkflow(msg)


def find_target(flow: object, registry: Registry, served: Served) -> Target:
    """Look for the flow among the variables of all modules; InvalidWorkflow where no other process could find it."""
    # A copy: a module that another thread imports meanwhile would change the dict under the loop.
    holders = [(name, key) for name, module in list(sys.modules.items()) if (key := _name_in(module, flow)) is not None]
    # The script itself comes last: where it only imported the flow, the other process need not run the script's lines.
    holders.sort(key=lambda holder: holder[0] in _SCRIPT)
    places = ((_importable(name), key) for name, key in holders)
    found = next(((place, key) for place, key in places if place is not None), None)
    if found is None:
        msg = (
            f"worker processes cannot find {flow!r}: each imports it, so make it a variable at the top level of a "
            "module or of a script (not inside a function, a notebook or a prompt). processes=1 needs none of this"
        )
        raise InvalidWorkflow(msg)
    place, key = found
    imports = dict.fromkeys(filter(None, map(_importable, _modules_of_workflows(registry))))
    return Target(
        flow=f"{place}:{key}",
        imports=tuple(name for name in imports if name != place),
        path=_import_path(),
        served=served,
    )


_SCRIPT = ("__main__", "__mp_main__")


def _name_in(module: ModuleType, flow: object) -> str | None:
    # Some modules are stand-ins that import on access: only what is there is looked at.
    variables: dict[str, object] = getattr(module, "__dict__", {})
    return next((name for name, value in list(variables.items()) if value is flow), None)


def _modules_of_workflows(registry: Registry) -> Sequence[str]:
    definitions = filter(None, (registry.find(name, version) for name, version in registry.served()))
    # A callable object may not know its module; what its process does not find then, `check` will tell.
    return [getattr(definition.fn, "__module__", "") for definition in definitions]


def _importable(name: str) -> str | None:
    """What to import instead of this module: its name, or the file of the script that runs."""
    module = sys.modules.get(name)
    if module is None or name not in _SCRIPT:
        return None if module is None else name
    spec = getattr(module, "__spec__", None)
    if spec is not None:  # python -m name
        return str(spec.name)
    file = getattr(module, "__file__", None)
    if file is None or not file.endswith(".py") or not Path(file).is_file():
        return None
    return str(Path(file).absolute())


def _import_path() -> tuple[str, ...]:
    own = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    own += [*site.getsitepackages(), site.getusersitepackages()]
    folders = dict.fromkeys(os.path.abspath(entry) for entry in sys.path)  # noqa: PTH100  # links are kept as they are
    return tuple(
        folder for folder in folders if Path(folder).is_dir() and not any(map(Path(folder).is_relative_to, own))
    )
