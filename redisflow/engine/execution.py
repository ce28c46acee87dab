"""One run in the hands of a worker: its code on its loop, its record, and what to do next.

The one sentence: a claim goes down, an outcome comes up, one script writes it. `Execution` is told what happened
(started, a body ended, time passed, a commit was acknowledged) and answers with commands. Three rules make replay see
what the first pass saw: results are delivered in the order of their numbers, each with a run of the loop of its own; a
body starts only when every recorded result has been delivered and every record before its call is acknowledged; and one
commit is in flight at a time.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from types import CoroutineType
from typing import Any, Literal, cast

from redisflow import codec
from redisflow.authoring.body import detached_arguments
from redisflow.authoring.definition import WorkflowDefinition
from redisflow.authoring.step import Step
from redisflow.contract import Claim
from redisflow.engine.calls import OpenCall, OpenChild, OpenSignal, OpenStep
from redisflow.engine.commands import (
    GO_ON,
    BodyOutcome,
    CancelBody,
    Command,
    Commit,
    Continue,
    Finish,
    GoOn,
    Move,
    Park,
    RunBody,
    Suspend,
)
from redisflow.engine.drift import never_asked
from redisflow.engine.history import Deliverable
from redisflow.engine.loop import RunawayError, WorkflowLoop
from redisflow.engine.mailbox import Mailbox
from redisflow.engine.outcome import (
    IN_RECORD,
    Retry,
    Surroundings,
    describe_failure,
    judge_attempt,
    judge_mail,
    judge_workflow,
    origin_of,
    summarize_problem,
)
from redisflow.engine.port import Continued, Port
from redisflow.engine.reading import read_error, read_history, read_input, read_result
from redisflow.engine.unwinding import Unwinding
from redisflow.engine.waits import Waits
from redisflow.errors import CannotDecode, NotAllowedInWorkflow, StepError
from redisflow.failure import Failure, outline
from redisflow.mail import Mail
from redisflow.records import (
    AttemptFailed,
    ChildEnded,
    ChildStarted,
    StepFailed,
    TimerFired,
    UnwindingBegan,
    WorkflowAttemptFailed,
)

__all__ = ["Execution", "Surroundings"]

_log = logging.getLogger("redisflow.workflow")


class Execution:
    """See the module. Once a Park, Finish or Suspend was told it does no more; `evict` must end it in any case."""

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

    # -- what the shell tells -------------------------------------------------------------------------------------

    def start(self, now_ms: int) -> list[Command]:
        """Take the run up: replay its record, then say what to do."""
        claim, spec, port = self._claim, self._definition.spec, self._port
        port.at_ms = now_ms
        step = Step(port)
        if claim.mail_count:
            port.open_mailbox().put(claim.mail, claim.mail_count)
        try:
            if claim.records:
                port.history = history = read_history(claim)
                self._undelivered.extend((number, record, IN_RECORD) for number, record in history.deliverable)
                history.deliverable.clear()
            arguments = (read_input(spec, claim.input), step) if spec.takes_input else (step,)
        except CannotDecode as error:
            port.problem = error
            return self._decide()
        return self._settle(self._begin, arguments)

    def body_ended(
        self, key: str, attempt: int, outcome: BodyOutcome, started_at_ms: int, now_ms: int
    ) -> list[Command]:
        """An attempt of a step has ended. What nobody waits for any more is not recorded."""
        call = self._agenda.running.get(key)
        if call is None or call.attempt != attempt or self._has_left:
            return []
        del self._agenda.running[key]
        port = self._port
        port.at_ms = now_ms
        record, value = judge_attempt(
            call, outcome, self._around, started_at_ms, port.monotonic_ms(), now_ms + port.slack_ms
        )
        number = self._ledger.append(record)
        if isinstance(record, AttemptFailed):
            call.attempt = attempt + 1
            self._agenda.wait(call, record.due_at_ms)
        elif isinstance(record, ChildStarted):
            port.await_child(cast("OpenChild", call))
        else:
            call.state = "recorded"
            self._undelivered.append((number, record, value))
        return self._settle()

    def time_passed(self, now_ms: int) -> list[Command]:
        """Something may be due."""
        if self._has_left:
            return []
        self._port.at_ms = now_ms
        return self._settle()

    def committed(self, now_ms: int) -> list[Command]:
        """The commit in flight was acknowledged."""
        if self._has_left:
            return []
        self._port.at_ms = now_ms
        self._ledger.acknowledge()
        return self._settle()

    def not_parked(self, now_ms: int) -> list[Command]:
        """What was to park the run was acknowledged, but mail had come: the run is still held, and hears of it next."""
        self._has_left = False
        self._port.at_ms = now_ms
        self._ledger.acknowledge()
        return []

    def mail_came(self, mail: Sequence[Mail], last: int, now_ms: int) -> list[Command]:
        """All mail that has come since the last of `mail_seen`, up to this number."""
        self._port.open_mailbox().put(mail, last)
        if self._has_left:
            return []
        self._port.at_ms = now_ms
        return self._settle()

    @property
    def mail_seen(self) -> int | None:
        """Number of the last mail that is known here; None while the code waits for none."""
        mailbox = self._port.mailbox
        return mailbox.seen if mailbox is not None and mailbox.is_used else None

    @property
    def next_due_at_ms(self) -> int | None:
        """When `time_passed` is to be called next, while the run is held."""
        call = self._agenda.next_waiting() if self._agenda.waiting else None
        return None if call is None else call.due_at_ms

    @property
    def is_speaking(self) -> bool:
        """Whether the code has said something that is on no commit yet."""
        return self._ledger.is_speaking

    @property
    def in_flight(self) -> bool:
        """Whether a commit is in flight."""
        return self._ledger.sent is not None

    def evict(self) -> None:
        """Leave memory. Workflow code sees a cancellation; what it does about it is not recorded."""
        self._has_left = True
        self._port.is_evicted = True
        self._loop.evict()
        self._main = None
        self._port.clear()
        self._step_errors.clear()
        self._undelivered.clear()
        self._deferred = None

    # -- workflow code runs ---------------------------------------------------------------------------------------

    def _begin(self, arguments: tuple[Any, ...]) -> None:
        try:
            coroutine: Any = self._definition.fn(*arguments)
            if type(coroutine) is not CoroutineType:
                coroutine = _wait_for(coroutine)
        except Exception as error:  # noqa: BLE001  # code of users: a function that only looks async
            coroutine = _raise(error)
        self._main = self._loop.begin(cast("Any", coroutine))

    def _begin_task(self, coroutine: Any) -> None:
        self._main = self._loop.begin(coroutine)

    def _is_over(self) -> bool:
        return self._port.problem is not None or self._main is None or self._main.done()

    def _settle(self, first: Callable[..., object] | None = None, *args: Any) -> list[Command]:
        """Let workflow code see what it can be given, one record at a time; then decide."""
        try:
            if first is not None:
                self._loop.run(first, *args)
            self._deliver_all()
        except RunawayError as error:
            self._port.problem = self._port.problem or error
        return self._decide()

    def _deliver_all(self) -> None:
        undelivered, port = self._undelivered, self._port
        while port.problem is None and (main := self._main) is not None:
            if main.done():
                if not (port.stack or self._claim.ending) or not self._turns_back():
                    return
            elif self._deferred and self._deliver_deferred(self._deferred):
                pass
            elif undelivered:
                number, record, value = undelivered[0]
                # After a crash, workflow code sees nothing that is not stored: what kills the process here cannot
                # make the body of the step before it run for ever.
                if self._is_cautious and number >= self._ledger.acknowledged.records:
                    return
                undelivered.popleft()
                if isinstance(record, UnwindingBegan):
                    self._unwind(record.failure, is_new=False)
                else:
                    self._deliver(number, record, value)
            elif port.is_replaying:
                self._end_replay()
            elif not (port.mailbox is not None and self._take_mail(port.mailbox)) and not (
                self._agenda.waiting and self._take_due()
            ):
                return

    def _deliver_deferred(self, deferred: dict[str, tuple[int, Deliverable, Any]]) -> bool:
        """Give the code the first record that it has come to want; whether there was one."""
        for key, (number, record, value) in deferred.items():
            if self._port.has_begun(key):
                del deferred[key]
                self._deliver(number, record, value)
                return True
        return False

    def _deliver(self, number: int, record: Deliverable, value: Any) -> None:
        port = self._port
        call = port.calls.get(record.call.key)
        if call is None or call.state in {"asked", "kept"}:
            if self._deferred is None:
                self._deferred = {}
            self._deferred[record.call.key] = number, record, value
            if not port.has_drifted:
                known = port.history.by_key[record.call.key]
                drift = never_asked(known, port.history, port.calls.values())
                port.tolerate(drift, is_fatal=not port.is_lenient)
            return
        # Not by max(), which is a call: this is done for every step.
        if number > port.delivered:  # noqa: PLR1730
            port.delivered = number
        if record.at_ms > port.time_ms:  # noqa: PLR1730
            port.time_ms = record.at_ms
        future = call.end()
        if future is None:
            return
        # Kinds match, since the history did: whence the casts.
        if isinstance(record, StepFailed) or (isinstance(record, ChildEnded) and record.status != "succeeded"):
            error = read_error(cast("OpenStep", call), record)
            self._step_errors.append((error, number))
            self._loop.run(future.set_exception, error)
            return
        if value is IN_RECORD:
            try:
                value = None if isinstance(record, TimerFired) else read_result(cast("OpenStep", call), record)
            except CannotDecode as error:
                port.problem = error
                return
        self._loop.run(future.set_result, value)

    def _end_replay(self) -> None:
        """From here on it is new. What the record holds was asked for by now, or the code has changed."""
        port = self._port
        port.problem = port.absence(at_end=False)
        if port.problem is None:
            port.is_replaying = False
            if self._claim.ending is not None and self._unwinding is None:
                self._unwind(None, is_new=True)

    def _take_mail(self, mailbox: Mailbox) -> bool:
        """Let the first mail that is waited for become a record; whether there was one."""
        found = mailbox.take()
        if found is None:
            return False
        mail, call = found
        record, value = judge_mail(call, mail, self._port.monotonic_ms())
        self._has_ended_waiting(call)
        number = self._ledger.append(record, "take", mail.number)
        self._undelivered.append((number, record, value))
        return True

    def _take_due(self) -> bool:
        """Make due retries ready, and fire the first timer that is due; whether there was one."""
        agenda, port = self._agenda, self._port
        while (call := agenda.take_due(port.at_ms)) is not None:
            if isinstance(call, OpenStep):
                agenda.make_ready(call, self._ledger.count)
                continue
            record = TimerFired(call.place, max(port.monotonic_ms(), call.due_at_ms))
            self._has_ended_waiting(call)
            self._undelivered.append((self._ledger.append(record), record, None))
            return True
        return False

    def _has_ended_waiting(self, call: OpenCall) -> None:
        call.state = "recorded"
        if isinstance(call, OpenSignal) and self._port.waits is not None:
            self._port.waits.end(call.name_hash)

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

    # -- what to do next ------------------------------------------------------------------------------------------

    def _decide(self) -> list[Command]:
        """What follows from here: at its end a commit is in flight, or a body runs, or the run is about to leave."""
        agenda, ledger = self._agenda, self._ledger
        commands: list[Command] = []
        is_over = self._is_over()
        if is_over:
            agenda.give_up_all()
        if agenda.gave_up:
            commands.extend(map(CancelBody, agenda.gave_up))
            agenda.gave_up.clear()
        if is_over:
            if ledger.sent is None:
                commands.append(self._commit(self._conclude()))
            return commands
        while (call := agenda.take_ready(ledger.acknowledged.records)) is not None:
            commands.append(self._run_body(call))
        if ledger.sent is None and (not agenda.running or ledger.has_new):
            move = self._next_move()
            if self._port.stack and self._unwinding is None and isinstance(move, Finish):
                self._unwind(Failure.from_wire(codec.decode(move.payload)), is_new=True)
                return [*commands, *self._settle()]
            commands.append(self._commit(move))
        return commands

    def _run_body(self, call: OpenStep) -> RunBody:
        args, kwargs = detached_arguments(call.args, call.kwargs)
        return RunBody(
            call.key,
            call.ordinal,
            call.attempt,
            call.fn,
            args,
            kwargs,
            call.plan.timeout_ms,
            self._port.idempotency_key(call),
        )

    def _commit(self, then: Move) -> Commit:
        if self._is_cautious and self.is_speaking:
            # The crash is forgotten by a commit that goes on; where all records were stored before, this is the one.
            then = GO_ON
        if isinstance(then, Finish) and not self._is_told:
            self._is_told = True
            self._tell_family()
        port = self._port
        if port.waits is not None and port.problem is None:
            self._register(port.waits)
        commit = self._ledger.commit(then)
        if port.mailbox is not None:
            commit.seen = self.mail_seen
        self._has_left = not isinstance(commit.then, GoOn)
        return commit

    def _register(self, waits: Waits) -> None:
        """Broadcasts are to reach the run as long as its code waits for them."""
        if self._is_over():
            waits.end_all()
        for effect in waits.settle():
            self._ledger.do(*effect)

    def _tell_family(self) -> None:
        """The run ends: its parent is told so, and children that it leaves behind are looked after."""
        if self._claim.ending is not None:
            self._ledger.do("verdict", self._claim.ending.cause)
        if self._port.has_children:
            self._ledger.do("orphan")
        if self._claim.parent is not None:
            self._ledger.do("tell", self._claim.parent)

    def _next_move(self) -> Move:
        """Hold on while anything runs or is about to; else park until the first due time."""
        if self._undelivered or self._agenda.is_busy():
            return GO_ON
        call, mailbox = self._agenda.next_waiting(), self._port.mailbox
        wants = "" if mailbox is None else mailbox.wants()
        if call is not None:
            return Park(_reason(call), call.due_at_ms, wants)
        if mailbox is not None and wants:
            return Park("child" if mailbox.waits_for() == "child" else "signal", None, wants)
        stuck = NotAllowedInWorkflow(
            "workflow code waits for something that is not a step, so nothing can ever wake it "
            f"({self._loop.waiting_at()}). Wait for a step (`step.run`, `step.sleep`, ...) or a task that does"
        )
        return Finish("failed", describe_failure(stuck))

    def _conclude(self) -> Move:
        """The workflow's code has ended, or must not go on."""
        port = self._port
        if port.problem is not None and isinstance(port.problem, Continued):
            # What the code has said until then is told.
            if self._ledger.has_new:
                return GO_ON
            port.leave_behind()
            return Continue(port.problem.data)
        if port.problem is None and self._conclusion is None:
            self._conclusion = self._outcome() if self._unwinding is None else self._unwinding.end()
        if port.problem is not None:
            if port.is_replaying:
                # What this code asked for before it went astray must not stand in the way of the right code.
                self._ledger.withdraw()
            if self._ledger.has_new:
                return GO_ON
            return Suspend(describe_failure(port.problem), summarize_problem(port.problem))
        assert self._conclusion is not None  # noqa: S101  # set just above
        return self._conclusion

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

    # -- for people -----------------------------------------------------------------------------------------------

    def _tell_of_the_forgotten(self) -> None:
        forgotten = self._port.never_begun()
        if forgotten:
            _log.warning(
                "step calls were never awaited, so they did not run: %s", ", ".join(forgotten[:5]), extra=self._fields()
            )
        self._loop.report_forgotten()

    def _report(self, context: dict[str, Any]) -> None:
        if self._port.is_replaying:
            return
        message, error = context.get("message", "unhandled exception"), context.get("exception")
        if isinstance(error, BaseException):
            message = f"{message}: {outline(error)}"
        _log.warning("workflow code: %s", message, extra=self._fields())

    def _fields(self) -> dict[str, Any]:
        return {"run_id": self._claim.hold.run_id, "workflow": self._claim.workflow}


def _reason(call: OpenCall) -> Literal["timer", "retry", "signal"]:
    """Why a run waits that goes on with this call when it is due; a child is due to be started again."""
    return "timer" if call.kind == "sleep" else "signal" if call.kind == "signal" else "retry"


async def _wait_for(awaitable: Any) -> Any:
    return await awaitable


async def _raise(error: Exception) -> Any:
    raise error
