"""Call sites: which calls client and worker make in a run that nothing disturbs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from redisflow.testing.faults import Proxy, Words, name_by, script_names

Who: TypeAlias = Literal["client", "worker"]
_PLAIN_NAMES = name_by(script_names())
_BY_KEY = frozenset({"BLPOP", "SSUBSCRIBE", "SUNSUBSCRIBE", "HGET", "HGETALL", "XRANGE"})
_KEY = re.compile(r"rf:\{[^}]*\}:([a-z]+)")


@dataclass(frozen=True, order=True)
class Site:
    """The nth call of a name that one side makes."""

    who: Who
    name: str
    nth: int

    def __str__(self) -> str:
        return f"{self.who}:{self.name}:{self.nth}"

    @property
    def command(self) -> str:
        """The script or the command, without what it is about."""
        return self.name.partition(".")[0]

    @classmethod
    def parse(cls, text: str) -> Site:
        """From what `str` gives."""
        who, name, nth = text.split(":")
        return cls("client" if who == "client" else "worker", name, int(nth))


def name_site(words: Words) -> str:
    """A name for each kind of call that stands at a place of its own in the code."""
    name = _PLAIN_NAMES(words)
    if name == "take_turn":
        return f"{name}.{words[4].decode()}"
    if name in _BY_KEY and len(words) > 1:
        found = _KEY.match(words[1].decode())
        return f"{name}.{found[1]}" if found else name
    return name


def sites_of(proxies: Mapping[Who, Proxy]) -> list[Site]:
    """Every call that came by."""
    return [Site(who, seen.name, seen.nth) for who, proxy in proxies.items() for seen in proxy.calls]
