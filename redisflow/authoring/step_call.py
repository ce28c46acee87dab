"""What every `step.*` call returns: a coroutine that begins when it is awaited.

The memo key is claimed at the call, so that the order of keys is the order of the code, whatever a scheduler does with
the awaiting. These are classes, not plain coroutines: type checkers then keep exact tuples through `asyncio.gather`,
and what is dropped before it began (a run that leaves memory drops much) needs no warning by Python.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, TypeVar

R_co = TypeVar("R_co", covariant=True)


class Deferred(Coroutine[Any, Any, R_co]):
    """Something to be awaited once: directly, or by gather, a TaskGroup or `create_task`."""

    __slots__ = ("_is_spent", "_waits")

    def __init__(self) -> None:
        """Nothing begins here."""
        self._waits: Generator[Any, Any, R_co] | None = None
        self._is_spent = False

    @abstractmethod
    def _begin(self) -> Awaitable[R_co]:
        """Begin, and return what gives the value."""

    @abstractmethod
    def _drop(self) -> None:
        """It was given up before it began."""

    @property
    def _name(self) -> str:
        return "this call"

    @property
    def has_begun(self) -> bool:
        """Whether it was awaited, or given up."""
        return self._is_spent

    def __await__(self) -> Generator[Any, Any, R_co]:
        """Begin it and wait for its value."""
        if self._is_spent:
            msg = f"{self._name} was awaited twice, or after it was given up: keep its value, or wrap it in a task"
            raise RuntimeError(msg)
        self._is_spent = True
        self._waits = waits = self._begin().__await__()
        return waits

    def send(self, value: Any, /) -> Any:
        """As a task drives it."""
        waits = self._waits
        return (self.__await__() if waits is None else waits).send(value)

    def throw(
        self,
        typ: type[BaseException] | BaseException,
        val: BaseException | object = None,
        tb: TracebackType | None = None,
        /,
    ) -> Any:
        """As a task cancels it. Before it began, nothing begins."""
        error = typ if isinstance(typ, BaseException) else val if isinstance(val, BaseException) else typ()
        if tb is not None:
            error = error.with_traceback(tb)
        try:
            if self._waits is not None:
                return self._waits.throw(error)
            self.close()
            raise error
        finally:
            # Its traceback holds this frame: without them, what was dropped leaves memory at once.
            del typ, val, error

    def close(self) -> None:
        """Give it up."""
        if self._waits is not None:
            self._waits.close()
        elif not self._is_spent:
            self._is_spent = True
            self._drop()


class StepCall(Deferred[R_co]):
    """One call of a step, to be awaited once: directly, or by gather, a TaskGroup or `create_task`."""

    __slots__ = ("key", "ordinal")

    def __init__(self, key: str, ordinal: int) -> None:
        """Made by the engine, when workflow code calls `step.*`."""
        # What its base does, without a call: this is made for every step.
        self._waits = None
        self._is_spent = False
        self.key = key
        self.ordinal = ordinal

    @property
    def _name(self) -> str:
        return f"step call {self.key!r}"

    def __hash__(self) -> int:
        """By its place among the calls of its run: a set of calls iterates alike in every process."""
        return self.ordinal

    def __repr__(self) -> str:
        """For messages."""
        return f"<{self._name}>"


class SeveralCalls(Deferred[R_co]):
    """Several calls, waited for by an async function of theirs."""

    __slots__ = ("_calls", "_wait")

    def __init__(self, calls: list[Awaitable[Any]], wait: Callable[[list[Awaitable[Any]]], Awaitable[R_co]]) -> None:
        """`wait` begins the calls when this is awaited."""
        super().__init__()
        self._calls = calls
        self._wait = wait

    def _begin(self) -> Awaitable[R_co]:
        return self._wait(self._calls)

    def _drop(self) -> None:
        close_all(self._calls)


def close_all(calls: list[Awaitable[Any]]) -> None:
    """Give up those that have not begun."""
    for call in calls:
        if isinstance(call, Coroutine):
            call.close()
