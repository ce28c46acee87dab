"""How many streams of one dashboard are open: each costs a connection and a subscription, so they are counted."""

from __future__ import annotations

import contextlib
from collections.abc import Generator


class Streams:
    """At most so many at once."""

    def __init__(self, most: int) -> None:
        """None is open."""
        self._most = most
        self._open = 0

    @property
    def are_full(self) -> bool:
        """Whether no more may be opened."""
        return self._open >= self._most

    @contextlib.contextmanager
    def opened(self) -> Generator[None]:
        """One more, until this ends."""
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
