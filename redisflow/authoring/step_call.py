"""What every `step.*` call returns: a coroutine whose memo key is claimed at the call and which begins when awaited.

Claiming at the call makes the order of keys the order of the code, whatever a scheduler does with the awaiting. It is
a class, not a plain coroutine, so that type checkers keep exact tuples through `asyncio.gather`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio

R_co = TypeVar("R_co", covariant=True)


class StepCall(Coroutine[Any, Any, R_co]):
    """One call of a step, to be awaited once: directly, or by gather, a TaskGroup or `create_task`."""

    __slots__ = ("_begin", "_ordinal", "_waits", "key")

    def __init__(self, key: str, ordinal: int, begin: Callable[[], asyncio.Future[R_co]]) -> None:
        """`begin` starts it and returns the future of its value."""
        self.key = key
        self._ordinal = ordinal
        self._begin: Callable[[], asyncio.Future[R_co]] | None = begin
        self._waits: Generator[Any, Any, R_co] | None = None

    def __await__(self) -> Generator[Any, Any, R_co]:
        """Begin it and wait for its value."""
        return self._started().__await__()

    def _started(self) -> asyncio.Future[R_co]:
        begin, self._begin = self._begin, None
        if begin is None:
            msg = f"step call {self.key!r} was awaited twice: keep its value instead, or wrap it in a task"
            raise RuntimeError(msg)
        return begin()

    def send(self, value: Any, /) -> Any:
        """As a task drives it."""
        if self._waits is None:
            self._waits = self._started().__await__()
        return self._waits.send(value)

    def throw(
        self,
        typ: type[BaseException] | BaseException,
        val: BaseException | object = None,
        tb: TracebackType | None = None,
        /,
    ) -> Any:
        """As a task cancels it. Before it began, nothing begins."""
        if self._waits is None:
            self._begin = None
            if isinstance(typ, BaseException):
                raise typ
            raise typ() if val is None else val if isinstance(val, BaseException) else typ(val)
        if isinstance(typ, BaseException):
            return self._waits.throw(typ)
        return self._waits.throw(typ, val, tb)

    def close(self) -> None:
        """Give it up."""
        self._begin = None
        if self._waits is not None:
            self._waits.close()

    def __hash__(self) -> int:
        """By its place among the calls of its run: a set of calls iterates alike in every process."""
        return self._ordinal

    def __eq__(self, other: object) -> bool:
        """Identity."""
        return self is other

    @property
    def was_awaited(self) -> bool:
        """Whether it has begun, or was given up."""
        return self._begin is None
