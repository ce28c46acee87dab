"""One dashboard for several namespaces: the first at the top, each other one below it, and a way from each to each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PLACE = "/ns/"
"""Where the others are: /ns/NAME."""


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Those of one dashboard, and which of them is shown."""

    names: Sequence[str]
    own: str

    @property
    def path(self) -> str:
        """Where this one's pages are, below the whole dashboard."""
        return "" if self.own == self.names[0] else f"{PLACE}{self.own}"

    def links(self, base: str) -> list[tuple[str, str]]:
        """Each name, with where its runs are; `base` is the prefix of this one's pages. None where it is alone."""
        if len(self.names) == 1:
            return []
        top = base.removesuffix(self.path)
        return [(name, f"{top}{each.path}/runs") for name in self.names for each in [Namespaces(self.names, name)]]


def check_names(names: Sequence[str]) -> Sequence[str]:
    """ValueError where one is there twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f"a dashboard shows a namespace once: {', '.join(twice)} is given several times"
        raise ValueError(msg)
    return names
