"""For which signals a run waits, and for which it is registered: a broadcast reaches those that are registered.

The difference goes with the next commit. It is worked out anew on each pass from what the code waits for then, so that
it does not matter how a wait ended: by a signal, by its time, given up, or with the code that made it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator


class Waits:
    """Of one run, in the hands of its holder; a name stands here as its hash."""

    __slots__ = ("_changed", "_open", "_registered")

    def __init__(self, registered: Iterable[str]) -> None:
        """`registered` is what the store holds."""
        self._registered = set(registered)
        self._open: Counter[str] = Counter()
        self._changed = set(self._registered)

    def begin(self, name: str) -> None:
        """A call waits for this signal."""
        self._open[name] += 1
        self._changed.add(name)

    def end(self, name: str) -> None:
        """It waits no longer."""
        self._open[name] -= 1
        self._changed.add(name)

    def end_all(self) -> None:
        """No call waits for anything any more."""
        self._open.clear()
        self._changed |= self._registered

    def settle(self) -> Iterator[tuple[str, str]]:
        """The effects by which the store comes to hold what is so now."""
        for name in sorted(self._changed):
            if self._open[name] > 0 and name not in self._registered:
                self._registered.add(name)
                yield "wait", name
            elif self._open[name] <= 0 and name in self._registered:
                self._registered.remove(name)
                yield "unwait", name
        self._changed.clear()
