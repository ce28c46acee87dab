"""The calls that a proxy sees, by name, and how a rule chooses among them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, get_args

from redisflow.backend.scripts import Clock, load_scripts

Words: TypeAlias = Sequence[bytes]
NameOf: TypeAlias = Callable[[Words], str]
_SCRIPT_COMMANDS = frozenset({b"EVALSHA", b"EVAL", b"EVALSHA_RO", b"EVAL_RO"})


@dataclass(frozen=True)
class SeenCall:
    """One call that came by."""

    name: str
    """Of the script that it runs, else of the command, in capitals."""
    nth: int
    """Of the calls of this name through this proxy, from 1."""
    connection: int
    """The number of its connection, from 1."""
    words: Words = field(repr=False)
    """The command and its arguments."""


Predicate: TypeAlias = Callable[[SeenCall], bool]


@dataclass(frozen=True)
class CallSelector:
    """See `call`."""

    name: str | None = None
    nth: int | None = None
    connection: int | None = None
    where: Predicate | None = None

    def fits(self, seen: SeenCall) -> bool:
        """Whether it is one of those; `nth` is not looked at here."""
        return (
            (self.name is None or self.name == seen.name)
            and (self.connection is None or self.connection == seen.connection)
            and (self.where is None or self.where(seen))
        )


def call(
    name: str | None = None,
    *,
    nth: int | None = None,
    connection: int | None = None,
    where: Predicate | None = None,
) -> CallSelector:
    """Calls of this name, all unless said otherwise: of a script (`commit_run`), or of a command (`BLPOP`).

    `nth` is the one of them, counted from when the rule was made, from 1; without it the rule is about each of them.
    `connection` and `where` choose further.
    """
    if nth is not None and nth < 1:
        msg = f"nth counts from 1, not {nth}"
        raise ValueError(msg)
    return CallSelector(name, nth, connection, where)


def script_names() -> dict[str, str]:
    """The names of redisflow's own scripts, by their SHA-1 (those with the clock of tests, too)."""
    clocks: tuple[Clock, ...] = get_args(Clock)
    return {script.sha: script.name for clock in clocks for script in load_scripts(clock)}


def name_by(names: Mapping[str, str]) -> NameOf:
    """What gives a call its name: that of its script, by SHA-1, else its command."""

    def name_of(words: Words) -> str:
        command = bytes(words[0]).upper()
        if command not in _SCRIPT_COMMANDS or len(words) == 1:
            return command.decode("latin-1")
        sha = words[1].decode("latin-1").lower()
        if command.startswith(b"EVAL") and not command.startswith(b"EVALSHA"):
            sha = hashlib.sha1(words[1], usedforsecurity=False).hexdigest()
        return names.get(sha, sha)

    return name_of
