"""The Lua scripts, and how Python calls them: by the names in their own opening lines.

A script's first lines say what each key and argument is (`local fence = ARGV[2] -- str ...`); the names and their order
are read from there, so that a missing or an extra name fails at the call and no second list can drift. Includes are
inlined once. `python -m redisflow.backend.scripts DIR` writes the inlined texts for the linter.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

from redisflow.backend.script_files import script_files

_DECLARATION = re.compile(r"^local (\w+) *= *(KEYS|ARGV)\[(\d+)\] *-- *(\w+)")
_TAIL = re.compile(r"^local (\w+) *= *(\d+) *-- *tail")
_ROWS = re.compile(r"^local (\w+) *= *1 *-- *rows +([\w ]+?)((?: \| \w+)*)$")
_INCLUDE = re.compile(r"^-- @include (lib/\w+\.lua)$", re.MULTILINE)
_SHEBANG = re.compile(r"\A#!lua.*\n")

# In tests the clock is a key: a script is then tested at the instant that the test chooses.
_TEST_CLOCK = """
local function now_ms()
  local set = redis.call('GET', KEYS[1] .. 'clock')
  if set then return tonumber(set) end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
"""

Clock = Literal["server", "test"]


@dataclass(frozen=True, slots=True)
class Script:
    """One transition: its text as it is sent, and the arguments that it takes."""

    name: str
    text: str
    names: tuple[str, ...]
    tails: tuple[str, ...] = ()
    """What the open end of the arguments holds, or nothing where there is none."""
    rows: bool = False
    """Whether one call carries many runs: `names` are then the arguments of each, and each of `tails` follows them
    with its length first."""
    sha: str = field(init=False)
    _pick: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Name it as the server will."""
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())
        object.__setattr__(self, "_pick", _picker(self.names))

    def call(self, prefix: str, /, *tails: Iterable[Any], **arguments: Any) -> tuple[Any, ...]:
        """The command that runs it (for one run). TypeError where a name is missing, unknown, or has no open end."""
        if len(arguments) != len(self.names):
            raise self._refusal(arguments)
        try:
            picked = self._pick(arguments)
        except KeyError:
            raise self._refusal(arguments) from None
        command = ["EVALSHA", self.sha, "1", prefix, *picked]
        given = [list(tail) for tail in tails]
        if any(given[len(self.tails) :]):
            msg = f"{self.name} takes {len(self.tails) or 'no'} open ends of arguments"
            raise TypeError(msg)
        for place in range(len(self.tails)):
            tail = given[place] if place < len(given) else []
            command += [len(tail), *tail] if self.rows else tail
        return tuple(command)

    def head(self, *names: str) -> tuple[Any, ...]:
        """The beginning of its command, for a caller that builds hot commands itself.

        The prefix and the arguments follow in the order of `names`, which is checked here, once: TypeError where it is
        not the script's own.
        """
        if names != self.names:
            raise self._refusal(dict.fromkeys(names))
        return ("EVALSHA", self.sha, "1")

    def _refusal(self, arguments: Mapping[str, Any]) -> TypeError:
        given, wanted = set(arguments), set(self.names)
        return TypeError(
            f"{self.name}({', '.join(self.names)}): missing {sorted(wanted - given)}, unknown {sorted(given - wanted)}"
        )


def _picker(names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """All of these values at once; a picker of a single name would give the value itself."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda arguments: tuple(arguments[name] for name in names)


def _inline(name: str, clock: Clock, seen: set[str]) -> str:
    if name in seen:
        return ""
    seen.add(name)
    if name == "lib/clock.lua" and clock == "test":
        return _TEST_CLOCK
    parts = _parts(name)
    return "".join(_inline(part, clock, seen) if place % 2 else part for place, part in enumerate(parts))


@cache
def _parts(name: str) -> Sequence[str]:
    """What stands between its includes, and their names, by turns: most includes stand in many scripts."""
    return _INCLUDE.split(script_files()[name])


def _read(name: str, clock: Clock, *, shebang: bool) -> Script:
    text = _inline(f"{name}.lua", clock, set())
    if not shebang:
        text = _SHEBANG.sub("", text)
    names: list[str] = []
    tails: tuple[str, ...] = ()
    rows = False
    for line in script_files()[f"{name}.lua"].splitlines():
        declared = _DECLARATION.match(line)
        if declared and declared[2] == "ARGV":
            names.append(declared[1])
            if int(declared[3]) != len(names):
                msg = f"{name}.lua: {declared[1]} stands at ARGV[{declared[3]}], expected ARGV[{len(names)}]"
                raise ValueError(msg)
        if opened := _TAIL.match(line):
            tails = (opened[1],)
            if int(opened[2]) != len(names) + 1:
                msg = f"{name}.lua: its open end begins at {opened[2]}, expected {len(names) + 1}"
                raise ValueError(msg)
        if rowed := _ROWS.match(line):
            names, rows, tails = rowed[2].split(), True, tuple(re.findall(r"\w+", rowed[3]))
    return Script(name, text, tuple(names), tails, rows)


@dataclass(frozen=True)
class Scripts:
    """All scripts by name: `scripts.commit_run.call(prefix, records, run_id=..., ...)`."""

    by_name: Mapping[str, Script]

    def __getattr__(self, name: str) -> Script:
        """The script of this name."""
        try:
            return self.by_name[name]
        except KeyError:
            msg = f"no script {name}.lua"
            raise AttributeError(msg) from None

    def __iter__(self) -> Iterator[Script]:
        """Every script."""
        return iter(self.by_name.values())


@cache
def load_scripts(clock: Clock = "server", *, shebang: bool = True) -> Scripts:
    """Read and inline every script. `shebang=False` for a server that does not know script flags (fakeredis)."""
    names = [file.removesuffix(".lua") for file in script_files() if "/" not in file]
    return Scripts({name: _read(name, clock, shebang=shebang) for name in names})


def main(arguments: Sequence[str]) -> None:
    """Write each inlined script, without its shebang line, into a folder, for a linter."""
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for script in load_scripts(shebang=False):
        (folder / f"{script.name}.lua").write_text(script.text, encoding="utf-8")
