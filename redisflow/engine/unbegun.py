"""What suspended code holds that has not begun: coroutines that were made, and would have been awaited later.

A run that leaves memory drops them, and Python would warn of each that it "was never awaited", though nothing is wrong
with the code. So they are found before, and closed after.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections import deque
from collections.abc import Iterable
from types import CellType, CoroutineType
from typing import Any, cast

from redisflow.authoring.step_call import Deferred

_CONTAINERS = (list, tuple, set, frozenset, dict, deque)
_DEPTH = 3
_MANY = 1_000
"""Members of a container: in a larger one nobody keeps coroutines, and a run that leaves must not take long."""


class Unbegun:
    """The coroutines that some tasks hold in their variables, in containers there, or half-way through a call."""

    def __init__(self, tasks: Iterable[asyncio.Task[Any]]) -> None:
        """Find them; the tasks are suspended."""
        self._found: dict[int, CoroutineType[Any, Any, Any] | Deferred[Any]] = {}
        for task in tasks:
            waiter: Any = task.get_coro()
            while isinstance(waiter, CoroutineType):
                # The variables of its frame, and what stands on its stack.
                self._look_at(gc.get_referents(cast("Any", waiter)), _DEPTH)
                waiter = waiter.cr_await

    def _look_at(self, values: Iterable[object], depth: int) -> None:
        for value in values:
            if isinstance(value, (CoroutineType, Deferred)):
                self._found[id(cast("object", value))] = value
            elif depth and (isinstance(value, CellType) or _is_small_container(value)):
                self._look_at(gc.get_referents(value), depth - 1)

    def close(self) -> None:
        """Close what has not begun by now."""
        for value in self._found.values():
            if isinstance(value, Deferred):
                if not value.has_begun:
                    value.close()
            elif inspect.getcoroutinestate(value) == inspect.CORO_CREATED:
                value.close()
        self._found.clear()


def _is_small_container(value: object) -> bool:
    return isinstance(value, _CONTAINERS) and len(cast("list[object]", value)) <= _MANY
