"""One run in the hands of a worker: its code on its loop, its record, and what to do next.

The one sentence: a claim goes down, an outcome comes up, one script writes it. `Execution` is told what happened
(started, a body ended, time passed, a commit was acknowledged) and answers with commands. Three rules make replay see
what the first pass saw: results are delivered in the order of their numbers, each with a run of the loop of its own; a
body starts only when every recorded result has been delivered and every record before its call is acknowledged; and one
commit is in flight at a time.

`one_pass.py` begins and ends the code, `delivery.py` gives it what it waits for. Here is what the shell tells, and what
it is told to do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

from redisflow import codec
from redisflow.authoring.body import detached_arguments
from redisflow.authoring.step import Step
from redisflow.engine.calls import OpenCall, OpenChild, OpenStep
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
from redisflow.engine.delivery import Delivery
from redisflow.engine.loop import RunawayError
from redisflow.engine.outcome import IN_RECORD, Surroundings, describe_failure, judge_attempt, summarize_problem
from redisflow.engine.port import Continued
from redisflow.engine.reading import read_history, read_input
from redisflow.engine.waits import Waits
from redisflow.errors import CannotDecode, NotAllowedInWorkflow
from redisflow.failure import Failure
from redisflow.mail import Mail
from redisflow.records import AttemptFailed, ChildStarted

__all__ = ["Execution", "Surroundings"]


class Execution(Delivery):
    """See the module. Once a Park, Finish or Suspend was told it does no more; `evict` must end it in any case."""

    __slots__ = ()

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
        room = self._around.room(self._ledger.bytes, self._claim.hold.stored_bytes)
        record, value = judge_attempt(
            call, outcome, self._around, room, started_at_ms, port.monotonic_ms(), now_ms + port.slack_ms
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
        """When `time_passed` is to be called next, while the run is held; None where that would change nothing."""
        # After a crash: what is due is given behind a record that is not stored yet. Its commit's answer comes first.
        if self._undelivered:
            return None
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

    def _settle(self, first: Callable[..., object] | None = None, *args: Any) -> list[Command]:
        """Let workflow code see what it can be given, one record at a time; then decide."""
        try:
            if first is not None:
                self._loop.run(first, *args)
            self._deliver_all()
        except RunawayError as error:
            self._port.problem = self._port.problem or error
        return self._decide()

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
            call.kind,
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
            # A child that is still to be started is said so, whatever is due first: nobody may take it for lost.
            has_all = not self._port.has_children or self._agenda.has_started_children()
            return Park(_reason(call) if has_all else "retry", call.due_at_ms, wants)
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
            is_runaway = isinstance(port.problem, RunawayError)
            return Suspend(describe_failure(port.problem), summarize_problem(port.problem), is_runaway)
        assert self._conclusion is not None  # noqa: S101  # set just above
        return self._conclusion


def _reason(call: OpenCall) -> Literal["timer", "retry", "signal"]:
    """Why a run waits that goes on with this call when it is due; a child is due to be started again."""
    return "timer" if call.kind == "sleep" else "signal" if call.kind == "signal" else "retry"
