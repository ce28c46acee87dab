"""A run that is lost undoes what it has done: its compensations run in reverse order, then it ends.

They are awaited by code of their own, on a loop of their own, in the place of the workflow's. So each is a step like
any other, retried, parked and replayed, and whoever takes the run up after a crash goes on in the middle.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from redisflow import codec
from redisflow.engine.calls import OpenCompensation
from redisflow.engine.commands import Finish
from redisflow.errors import StepError
from redisflow.failure import Failure
from redisflow.runs import Ending, failure_of


class Unwinding:
    """Of one run: why it is lost, and what could not be undone."""

    __slots__ = ("_ending", "_failed", "_failure")

    def __init__(self, failure: Failure | None, ending: Ending | None) -> None:
        """`ending` is the verdict from outside, where there is one: it counts before the code's own `failure`."""
        self._failure = failure
        self._ending = ending
        self._failed: list[StepError] = []

    async def run(self, left: Iterable[OpenCompensation]) -> None:
        """Undo. One that fails for good keeps the others from nothing."""
        for call in left:
            try:
                await call
            except StepError as error:
                self._failed.append(error)

    def end(self) -> Finish:
        """How the run ends, once that is done."""
        if self._ending is None:
            failure = self._failure or Failure("Unknown", "the failure was not recorded", "")
            return Finish("failed", self._describe(failure))
        if not self._failed:
            return Finish(self._ending.status, b"")
        cause = failure_of(None, self._ending.cause) or Failure("Canceled", "the run was canceled", "")
        return Finish(self._ending.status, self._describe(cause))

    def _describe(self, failure: Failure) -> bytes:
        if self._failed:
            keys = ", ".join(error.step for error in self._failed)
            notes = "".join(f"compensation {error}\n{error.traceback}" for error in self._failed)
            message = f"{failure.message} [compensations that failed: {keys}]"
            failure = replace(failure, message=message, traceback=f"{failure.traceback}{notes}")
        return codec.encode(failure.to_wire())
