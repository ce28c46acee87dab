"""One run in the hands of a worker: its code on its loop, its record, and what to do next.

The one sentence: a claim goes down, an outcome comes up, one script writes it. `Execution` is told what happened
(started, a body ended, time passed, a commit was acknowledged) and answers with commands. Three rules make replay see
what the first pass saw: results are delivered in the order of their numbers, one drain each; a body starts only when
every recorded result has been delivered and every record is acknowledged; and one commit is in flight at a time.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
from collections import deque
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any

from redisflow import codec
from redisflow.authoring.body import detached
from redisflow.authoring.definition import WorkflowDefinition
from redisflow.authoring.options import StepPlan
from redisflow.authoring.step import RunInfo, Step
from redisflow.authoring.step_call import StepCall
from redisflow.contract import Claim, Extension, Mark
from redisflow.durations import from_ms
from redisflow.engine.calls import CallFuture, OpenCall
from redisflow.engine.commands import (
    GO_ON,
    BodyOutcome,
    CancelBody,
    Command,
    Commit,
    Finish,
    GoOn,
    Park,
    RunBody,
    Suspend,
)
from redisflow.engine.history import CallKind, Deliverable, History, never_asked
from redisflow.engine.loop import RunawayError, WorkflowLoop
from redisflow.engine.outcome import describe_failure, judge_attempt, judge_workflow
from redisflow.errors import CannotDecode, NonDeterminismError, NotAllowedInWorkflow, StepError, StepTimeout
from redisflow.failure import Failure
from redisflow.payload import PayloadType, return_annotation
from redisflow.records import (
    NOTHING_DELIVERED,
    Call,
    Record,
    StepFailed,
    StepSucceeded,
    TimerAsked,
    TimerFired,
    decode_record,
    encode_record,
)

RECORDS_PER_COMMIT = 500
BYTES_PER_COMMIT = 1 << 20

_log = logging.getLogger("redisflow.workflow")


class Evicted(BaseException):
    """The run is leaving memory. It means nothing to anyone; workflow code that catches it gets it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the core may not read for itself."""

    entropy: Callable[[], float]
    """A number from 0 to 1, for jitter; what it decides is recorded."""
    cpu_seconds: Callable[[], float]
    """The thread's CPU clock, for the bound on a drain."""
    payload_limit: int = 1 << 20
    """Bytes of a step's result or of an output."""


class Execution:
    """See the module. Not to be used again once a Finish, Park or Suspend was acknowledged, or after `evict`."""

    def __init__(
        self, definition: WorkflowDefinition[Any, Any], claim: Claim, around: Surroundings, *, slack_ms: int = 0
    ) -> None:
        """`slack_ms` bounds how far the caller's `now_ms` may lag behind the server: what is asked for is due later."""
        self._definition = definition
        self._claim = claim
        self._around = around
        self._slack_ms = slack_ms
        self._loop = WorkflowLoop(around.cpu_seconds, self._report)
        self._main: asyncio.Task[Any] | None = None
        self._history = History()
        self._replaying = bool(claim.records)
        self._cautious = claim.crashes > 0
        self._problem: BaseException | None = None
        self._conclusion: Finish | Park | None = None
        self._evicted = False
        # The record: what was delivered, what is new, what is acknowledged.
        self._delivered = NOTHING_DELIVERED
        self._time_ms = claim.started_at_ms
        self._count = claim.mark.records
        self._new: deque[bytes] = deque()
        self._acknowledged = claim.mark
        self._sent: Mark | None = None
        # Calls of this pass.
        self._calls: dict[str, OpenCall] = {}
        self._names: dict[str, int] = {}
        self._ready: deque[OpenCall] = deque()
        self._running: dict[str, OpenCall] = {}
        self._waiting: list[tuple[int, int, OpenCall]] = []
        self._cancels: list[CancelBody] = []
        self._step_errors: list[tuple[StepError, int]] = []
        self._random: random.Random | None = None
        self._info: RunInfo | None = None
        self._now_ms = claim.started_at_ms

    # -- what the shell tells -------------------------------------------------------------------------------------

    def start(self, now_ms: int) -> list[Command]:
        """Take the run up: replay its record, then say what to do."""
        self._now_ms = now_ms
        claim, spec = self._claim, self._definition.spec
        try:
            if claim.records:
                self._history = History.of(decode_record(data, claim.started_at_ms) for data in claim.records)
            step = Step(self)
            arguments = (spec.input.decode(claim.input), step) if spec.takes_input else (step,)
        except CannotDecode as error:
            self._problem = error
            return self._decide()
        coroutine = self._definition.fn(*arguments)
        self._main = self._loop.create_task(coroutine, name="workflow", context=Context())
        return self._settle()

    def body_ended(
        self, key: str, attempt: int, outcome: BodyOutcome, *, started_at_ms: int, now_ms: int
    ) -> list[Command]:
        """An attempt of a step has ended. What nobody waits for any more is not recorded."""
        self._now_ms = now_ms
        call = self._running.get(key)
        if call is None or call.attempt != attempt:
            return []
        del self._running[key]
        assert call.plan is not None  # noqa: S101  # a running call is a step
        assert call.payload is not None  # noqa: S101  # see above
        record = judge_attempt(
            call.call,
            attempt,
            outcome,
            policy=call.plan.retry,
            payload=call.payload,
            around=(self._around.entropy, self._around.payload_limit),
            times=(started_at_ms, self._monotonic_ms(), now_ms + self._slack_ms),
        )
        number = self._append(record)
        if isinstance(record, StepSucceeded | StepFailed):
            call.state = "recorded"
            self._history.undelivered.append((number, record))
        else:
            call.attempt = attempt + 1
            self._wait(call, record.due_at_ms)
        return self._settle()

    def time_passed(self, now_ms: int) -> list[Command]:
        """Something may be due."""
        self._now_ms = now_ms
        return self._settle()

    def committed(self, now_ms: int) -> list[Command]:
        """The commit in flight was acknowledged."""
        self._now_ms = now_ms
        assert self._sent is not None  # noqa: S101  # one commit is in flight
        self._acknowledged, self._sent = self._sent, None
        return self._settle()

    @property
    def next_due_at_ms(self) -> int | None:
        """When `time_passed` is to be called next, while the run is held."""
        self._forget_given_up()
        return self._waiting[0][0] if self._waiting else None

    @property
    def in_flight(self) -> bool:
        """Whether a commit is in flight."""
        return self._sent is not None

    def evict(self) -> None:
        """Leave memory. Workflow code sees a cancellation; what it does about it is not recorded."""
        self._evicted = True
        self._loop.evict()

    # -- what workflow code asks (StepPort) -----------------------------------------------------------------------

    @property
    def info(self) -> RunInfo:
        """Of this run."""
        if self._info is None:
            claim = self._claim
            self._info = RunInfo(
                id=claim.hold.run_id,
                workflow=claim.workflow,
                version=claim.version or self._definition.spec.version,
                attempt=1 + self._history.workflow_attempts,
                created_at=from_ms(claim.created_at_ms),
                deadline_at=None if claim.deadline_at_ms is None else from_ms(claim.deadline_at_ms),
            )
        return self._info

    @property
    def random(self) -> random.Random:
        """Seeded by the run."""
        if self._random is None:
            self._random = random.Random(self._claim.hold.run_id)  # noqa: S311  # to be the same on every pass
        return self._random

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """Silent on replay."""
        return _ReplayAwareLogger(self)

    @property
    def resources(self) -> Any:
        """Bodies find theirs by context; workflow code has none."""
        return None

    def now_ms(self) -> int:
        """The time of the last record that was delivered."""
        return self._time_ms

    def ask_step(
        self, plan: StepPlan, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> StepCall[Any]:
        """Claim a step's key."""
        call = self._claim_key("run", plan.name)
        call.plan, call.fn, call.args, call.kwargs = plan, fn, args, kwargs
        call.payload = PayloadType.of(return_annotation(fn))
        return StepCall(call.call.key, call.call.ordinal, partial(self._begin_step, call))

    def ask_sleep(self, name: str, ms: int, *, relative: bool) -> StepCall[None]:
        """Claim a durable sleep's key."""
        call = self._claim_key("sleep", name)
        call.sleep_ms, call.sleep_is_relative = ms, relative
        return StepCall(call.call.key, call.call.ordinal, partial(self._begin_sleep, call))

    def _claim_key(self, kind: CallKind, name: str) -> OpenCall:
        if self._evicted:
            raise Evicted
        if asyncio._get_running_loop() is not self._loop:  # noqa: SLF001  # the documented way to look
            msg = (
                f"step.{kind}({name!r}) was called outside its workflow's code (in a step's body, a thread, or after "
                "the run ended): a body speaks to its workflow by its return value alone"
            )
            raise NotAllowedInWorkflow(msg)
        used = self._names.get(name, 0)
        self._names[name] = used + 1
        key = name if used == 0 else f"{name}#{used}"
        place = Call(key, len(self._calls), self._delivered)
        try:
            recorded = self._history.match(kind, place)
        except NonDeterminismError as error:
            self._problem = self._problem or error
            raise Evicted from None
        call = self._calls[key] = OpenCall(kind, place, recorded)
        return call

    def _begin_step(self, call: OpenCall) -> CallFuture:
        future = self._begin(call)
        recorded = call.recorded
        if recorded is not None and recorded.due_at_ms is not None:
            call.attempt = recorded.attempts + 1
            self._wait(call, recorded.due_at_ms)
        else:
            self._make_ready(call)
        return future

    def _begin_sleep(self, call: OpenCall) -> CallFuture:
        future = self._begin(call)
        recorded = call.recorded
        if recorded is not None and recorded.due_at_ms is not None:
            self._wait(call, recorded.due_at_ms)
        else:
            # The caller's clock may lag behind the server's, never lead: with the slack, a sleep is never short.
            now_ms = self._now_ms + self._slack_ms
            due_at_ms = now_ms + call.sleep_ms if call.sleep_is_relative else call.sleep_ms
            self._append(TimerAsked(call.call, self._monotonic_ms(), due_at_ms))
            self._wait(call, due_at_ms)
        return future

    def _begin(self, call: OpenCall) -> CallFuture:
        if self._evicted:
            raise Evicted
        call.future = CallFuture(self._loop, partial(self._give_up, call))
        return call.future

    def _give_up(self, call: OpenCall) -> None:
        if call.state == "running":
            del self._running[call.call.key]
            self._cancels.append(CancelBody(call.call.key))
        call.state = "given up"

    def _make_ready(self, call: OpenCall) -> None:
        call.state = "ready"
        self._ready.append(call)

    def _wait(self, call: OpenCall, due_at_ms: int) -> None:
        call.state = "waiting"
        call.due_at_ms = due_at_ms
        heapq.heappush(self._waiting, (due_at_ms, call.call.ordinal, call))

    # -- the record -----------------------------------------------------------------------------------------------

    def _append(self, record: Record) -> int:
        number = self._count
        self._count += 1
        self._new.append(encode_record(record, self._claim.started_at_ms))
        return number

    def _monotonic_ms(self) -> int:
        """Now, but never before anything that was recorded."""
        return max(self._now_ms, self._time_ms)

    def _settle(self) -> list[Command]:
        """Deliver what can be delivered, one record and one drain at a time; then decide."""
        self._drain()
        undelivered = self._history.undelivered
        while self._problem is None and self._main is not None and not self._main.done():
            if undelivered:
                number, record = undelivered[0]
                # After a crash, workflow code sees nothing that is not recorded: what kills the process here cannot
                # make the body of the step before it run for ever.
                if self._cautious and number >= self._acknowledged.records:
                    break
                undelivered.popleft()
                self._deliver(number, record)
                self._drain()
            elif self._replaying:
                self._replaying = False
            elif not self._take_due():
                break
        return self._decide()

    def _drain(self) -> None:
        try:
            self._loop.drain()
        except RunawayError as error:
            self._problem = self._problem or error

    def _deliver(self, number: int, record: Deliverable) -> None:
        call = self._calls.get(record.call.key)
        if call is None or (call.future is None and call.state != "given up"):
            self._problem = never_asked(record)
            return
        self._delivered = number
        self._time_ms = max(self._time_ms, record.at_ms)
        future = call.future
        if call.state == "given up" or future is None:
            return
        call.state = "recorded"
        match record:
            case StepSucceeded():
                assert call.payload is not None  # noqa: S101  # the history matched: it is a step
                try:
                    future.set_result(call.payload.decode(record.payload))
                except CannotDecode as error:
                    error.add_note(f"the recorded value of step {record.call.key!r} does not fit its type any more")
                    self._problem = error
            case StepFailed():
                kind = StepTimeout if record.timed_out else StepError
                failed = kind(record.call.key, record.attempt, record.failure)
                self._step_errors.append((failed, number))
                future.set_exception(failed)
            case TimerFired():
                future.set_result(None)

    def _take_due(self) -> bool:
        """Fire the first timer that is due, or make due retries ready; whether there was a timer to deliver."""
        while self._waiting and self._waiting[0][0] <= self._now_ms:
            _, _, call = heapq.heappop(self._waiting)
            if call.state != "waiting":
                continue
            if call.kind == "run":
                self._make_ready(call)
                continue
            record = TimerFired(call.call, max(self._monotonic_ms(), call.due_at_ms))
            call.state = "recorded"
            self._history.undelivered.append((self._append(record), record))
            return True
        return False

    def _forget_given_up(self) -> None:
        while self._waiting and self._waiting[0][2].state != "waiting":
            heapq.heappop(self._waiting)

    # -- what to do next ------------------------------------------------------------------------------------------

    def _decide(self) -> list[Command]:
        commands: list[Command] = []
        if self._cancels:
            commands.extend(self._cancels)
            self._cancels.clear()
        if self._problem is not None or self._main is None or self._main.done():
            commands.extend(CancelBody(key) for key in self._running)
            self._running.clear()
            if self._sent is None:
                commands.append(self._conclude())
        elif self._new or self._sent is not None:
            if self._sent is None:
                commands.append(self._commit(self._next_move()))
        else:
            self._start_bodies(commands)
            if not self._running:
                commands.append(self._commit(self._next_move()))
        return commands

    def _start_bodies(self, commands: list[Command]) -> None:
        while self._ready:
            call = self._ready.popleft()
            if call.state != "ready":
                continue
            call.state = "running"
            self._running[call.call.key] = call
            commands.append(self._run_body(call))

    def _run_body(self, call: OpenCall) -> RunBody:
        assert call.fn is not None  # noqa: S101  # a ready call is a step
        assert call.plan is not None  # noqa: S101  # see above
        key = call.call.key
        epoch = sum(key == failed or call.call.mark >= first for first, failed in self._history.restarts)
        name = f"{self._claim.hold.run_id}:{key}"
        return RunBody(
            key,
            call.call.ordinal,
            call.attempt,
            call.fn,
            tuple(detached(value) for value in call.args),
            {word: detached(value) for word, value in call.kwargs.items()} if call.kwargs else {},
            call.plan.timeout_ms,
            f"{name}:{epoch}" if epoch else name,
        )

    def _next_move(self) -> GoOn | Park | Finish:
        """Hold on while anything runs or is about to; else park until the first due time."""
        if self._running or any(call.state == "ready" for call in self._ready) or self._history.undelivered:
            return GO_ON
        if len(self._new) > RECORDS_PER_COMMIT:
            return GO_ON
        due_at_ms = self.next_due_at_ms
        if due_at_ms is not None:
            return Park("retry" if self._waiting[0][2].kind == "run" else "timer", due_at_ms)
        stuck = NotAllowedInWorkflow(
            "workflow code waits for something that is not a step, so nothing can ever wake it "
            f"({self._loop.waiting_at()}). Wait for `step.run`, `step.sleep` or a task that does"
        )
        self._conclusion = Finish("failed", describe_failure(stuck))
        return self._conclusion

    def _conclude(self) -> Commit:
        """The workflow's code has ended, or must not go on."""
        if len(self._new) > RECORDS_PER_COMMIT:
            return self._commit(GO_ON)
        if self._problem is None and self._conclusion is None:
            self._conclusion = self._outcome()
        if self._problem is not None:
            if self._new:
                return self._commit(GO_ON)
            failure = Failure.of(self._problem)
            return self._commit(Suspend(codec.encode(failure.to_wire()), str(self._problem)))
        assert self._conclusion is not None  # noqa: S101  # set just above
        return self._commit(self._conclusion)

    def _outcome(self) -> Finish | Park | None:
        """How the workflow's code ended; None where its record says that it should not have, yet."""
        assert self._main is not None  # noqa: S101  # it has ended
        for _, record in self._history.undelivered:
            if record.call.key not in self._calls:
                self._problem = never_asked(record)
                return None
        self._warn_of_forgotten_calls()
        result = judge_workflow(
            self._main,
            self._definition,
            attempt=1 + self._history.workflow_attempts,
            step_errors=self._step_errors,
            around=(self._around.entropy, self._around.payload_limit),
            times=(self._monotonic_ms(), self._now_ms + self._slack_ms),
        )
        if isinstance(result, Finish):
            return result
        self._append(result)
        return Park("retry", result.due_at_ms)

    def _warn_of_forgotten_calls(self) -> None:
        forgotten = [key for key, call in self._calls.items() if call.state == "asked"]
        if forgotten:
            _log.warning(
                "step calls were never awaited, so they did not run: %s",
                ", ".join(forgotten[:5]),
                extra={"run_id": self._claim.hold.run_id, "workflow": self._claim.workflow},
            )

    def _commit(self, then: GoOn | Park | Finish | Suspend) -> Commit:
        records: list[bytes] = []
        size = 0
        while self._new and len(records) < RECORDS_PER_COMMIT and size < BYTES_PER_COMMIT:
            records.append(self._new.popleft())
            size += len(records[-1])
        before = self._acknowledged
        after = Mark(before.records + len(records), before.bytes + size)
        self._sent = after
        if self._new:
            then = GO_ON
        return Commit(Extension(before, after, records), then)

    def _report(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        _log.warning(
            "workflow code: %s",
            context.get("message", "unhandled exception"),
            exc_info=error if isinstance(error, BaseException) else None,
            extra={"run_id": self._claim.hold.run_id, "workflow": self._claim.workflow},
        )

    @property
    def replaying(self) -> bool:
        """Whether what the code does now was done before."""
        return self._replaying


class _ReplayAwareLogger(logging.LoggerAdapter[logging.Logger]):
    """Says each thing once."""

    def __init__(self, execution: Execution) -> None:
        super().__init__(_log, {"run_id": execution.info.id, "workflow": execution.info.workflow})
        self._execution = execution

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802  # logging's own name
        return not self._execution.replaying and super().isEnabledFor(level)
