"""One pass of a workflow's code: how it begins, how it ends, and how it is turned back where the run is lost."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections import deque
from types import CoroutineType
from typing import Any, cast

from redisflow import codec
from redisflow.authoring.definition import WorkflowDefinition
from redisflow.contract import Claim
from redisflow.engine.calls import OpenChild
from redisflow.engine.commands import Finish, Park
from redisflow.engine.history import Deliverable
from redisflow.engine.loop import WorkflowLoop
from redisflow.engine.outcome import Retry, Surroundings, describe_failure, judge_workflow, origin_of
from redisflow.engine.port import Port
from redisflow.engine.unwinding import Unwinding
from redisflow.errors import StepError
from redisflow.failure import Failure, outline
from redisflow.records import UnwindingBegan, WorkflowAttemptFailed

_log = logging.getLogger("redisflow.workflow")


class Pass:
    """Of one run, as it is claimed."""

    __slots__ = (
        "__weakref__",
        "_agenda",
        "_around",
        "_claim",
        "_conclusion",
        "_deferred",
        "_definition",
        "_has_left",
        "_is_cautious",
        "_is_told",
        "_ledger",
        "_loop",
        "_main",
        "_port",
        "_step_errors",
        "_undelivered",
        "_unwinding",
    )

    def __init__(
        self, definition: WorkflowDefinition[Any, Any], claim: Claim, around: Surroundings, slack_ms: int = 0
    ) -> None:
        """`slack_ms` bounds how far the caller's `now_ms` may lag behind the server: what is asked for is due later."""
        self._definition = definition
        self._claim = claim
        self._around = around
        self._loop = self._new_loop()
        self._port = port = Port(definition, claim, around, self._loop, slack_ms)
        self._ledger = port.ledger
        self._agenda = port.agenda
        self._is_cautious = claim.crashes > 0
        self._main: asyncio.Task[Any] | None = None
        self._undelivered: deque[tuple[int, Deliverable | UnwindingBegan, Any]] = deque()
        """Records to be given to workflow code, with their numbers, and their values where they are known."""
        self._deferred: dict[str, tuple[int, Deliverable, Any]] | None = None
        """Once a drift is tolerated, by key: records of calls that the code has not begun yet."""
        self._step_errors: list[tuple[StepError, int]] = []
        self._conclusion: Finish | Park | None = None
        self._unwinding: Unwinding | None = None
        """Where the run is lost, and only its compensations run."""
        self._has_left = False
        self._is_told = False
        """Whether its end was told to its family."""

    def _new_loop(self) -> WorkflowLoop:
        salt = zlib.crc32(self._claim.hold.run_id.encode())
        return WorkflowLoop(self._around.cpu_seconds, self._report, salt)

    def _begin(self, arguments: tuple[Any, ...]) -> None:
        try:
            coroutine: Any = self._definition.fn(*arguments)
            if type(coroutine) is not CoroutineType:
                coroutine = _wait_for(coroutine)
        except Exception as error:  # noqa: BLE001  # code of users: a function that only looks async
            coroutine = _raise(error)
        self._main = self._loop.begin(cast("Any", coroutine), self._port.log_fields)

    def _begin_task(self, coroutine: Any) -> None:
        self._main = self._loop.begin(coroutine, self._port.log_fields)

    def _is_over(self) -> bool:
        return self._port.problem is not None or self._main is None or self._main.done()

    # -- how it ends ----------------------------------------------------------------------------------------------

    def _outcome(self) -> Finish | Park | None:
        """How the workflow's code ended; None where its record says that it should not have, yet."""
        assert self._main is not None  # noqa: S101  # it has ended
        port = self._port
        port.problem = port.absence(at_end=True)
        if port.problem is not None:
            return None
        self._tell_of_the_forgotten()
        ended = judge_workflow(self._main, self._definition, 1 + port.history.workflow_attempts, self._around)
        if isinstance(ended, bytes):
            return Finish("succeeded", ended)
        if not isinstance(ended, Retry):
            return Finish("failed", describe_failure(ended, origin_of(ended, self._step_errors)))
        due_at_ms = port.at_ms + port.slack_ms + ended.wait_ms
        first = origin_of(ended.error, self._step_errors)
        self._drop_children(first)
        self._ledger.append(WorkflowAttemptFailed(port.monotonic_ms(), due_at_ms, Failure.of(ended.error), first))
        return Park("retry", due_at_ms)

    def _drop_children(self, first: int | None) -> None:
        """Children that the next workflow attempt starts anew are not waited for any more."""
        if first is None or not self._port.has_children:
            return
        for call in self._port.calls.values():
            if (
                isinstance(call, OpenChild)
                and call.place.mark >= first
                and call.state in {"ready", "running", "waiting"}
            ):
                self._port.give_up(call)

    # -- what is undone -------------------------------------------------------------------------------------------

    def _turns_back(self) -> bool:
        """The code has ended: whether that was not all, because it is to be undone."""
        if self._unwinding is not None or self._conclusion is not None:
            return False
        # What ended after the code did was seen by nobody.
        while self._undelivered:
            _, record, _ = self._undelivered.popleft()
            if isinstance(record, UnwindingBegan):
                self._unwind(record.failure, is_new=False)
                return True
        failure = None
        if self._claim.ending is None:
            self._conclusion = ended = self._outcome()
            if not isinstance(ended, Finish) or ended.status == "succeeded":
                return False
            self._conclusion, failure = None, Failure.from_wire(codec.decode(ended.payload))
        self._unwind(failure, is_new=True)
        return True

    def _unwind(self, failure: Failure | None, *, is_new: bool) -> None:
        """The code is not to go on. `is_new`: the record does not say so yet."""
        port, ending = self._port, self._claim.ending
        port.problem = port.absence(at_end=True)
        if port.problem is not None:
            return
        left = port.unwind(withdraw=not is_new or ending is not None)
        if is_new:
            self._ledger.append(UnwindingBegan(port.monotonic_ms(), failure))
            if port.has_children:
                self._ledger.do("orphan")
        # The code cleans up as it does when the run leaves memory.
        port.is_evicted = True
        self._loop.evict()
        port.is_evicted = False
        self._loop = self._new_loop()
        port.move_to(self._loop)
        self._unwinding = Unwinding(failure, ending)
        self._loop.run(self._begin_task, self._unwinding.run(left))

    # -- for people -----------------------------------------------------------------------------------------------

    def _tell_of_the_forgotten(self) -> None:
        forgotten = self._port.never_begun()
        if forgotten:
            _log.warning(
                "step calls were never awaited, so they did not run: %s",
                ", ".join(forgotten[:5]),
                extra=self._port.log_fields,
            )
        self._loop.report_forgotten()

    def _report(self, context: dict[str, Any]) -> None:
        if self._port.is_replaying:
            return
        message, error = context.get("message", "unhandled exception"), context.get("exception")
        if isinstance(error, BaseException):
            message = f"{message}: {outline(error)}"
        _log.warning("workflow code: %s", message, extra=self._port.log_fields)


async def _wait_for(awaitable: Any) -> Any:
    return await awaitable


async def _raise(error: Exception) -> Any:
    raise error
