"""A run that this worker holds: carries out what its `Execution` says, and tells it what came of it.

Everything here happens in callbacks of the worker's loop, never inside one of its tasks: workflow code runs on a loop
of its own, and Python keeps one current task per thread.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, assert_never

from redisflow import codec
from redisflow.contract import Answer, Claim, MailBatch, Verdict
from redisflow.engine.commands import (
    CancelBody,
    Command,
    Commit,
    Continue,
    Finish,
    GoOn,
    Park,
    Raised,
    RunBody,
    Suspend,
)
from redisflow.engine.execution import Execution
from redisflow.errors import BackendError, BackendUnavailable, CannotDecode
from redisflow.failure import Failure, outline
from redisflow.run_views import encode_progress
from redisflow.worker.bodies import Body
from redisflow.worker.ends import FIRST_OFFER_MS, LAST_OFFER_MS, fields_of, forget, let_slots_go, word_of
from redisflow.worker.host import Host
from redisflow.worker.outputs import BodyOutputs
from redisflow.worker.progress import BEGUN, WAITING, progress_of
from redisflow.worker.watching import RunWatch

if TYPE_CHECKING:
    from redisflow.contract import Alarm, RunClock
    from redisflow.engine.commands import BodyOutcome

_MAKING = threading.Lock()
"""Two bodies in threads may be the first to say something."""

_log = logging.getLogger("redisflow.worker")


class HeldRun:
    """One claimed run. `drop` takes it out of memory, whatever it is doing."""

    __slots__ = (
        "_bodies",
        "_deferred",
        "_dropped",
        "_execution",
        "_fetching",
        "_forget_crashes",
        "_held_back",
        "_host",
        "_in_flight",
        "_living",
        "_noted",
        "_outputs",
        "_renews_s",
        "_timer",
        "_watch",
        "claim",
        "clock",
        "renewed_s",
        "since_s",
        "started",
    )

    def __init__(self, host: Host, claim: Claim, clock: RunClock, execution: Execution) -> None:
        """Nothing runs until `start`."""
        self.claim = claim
        self.clock = clock
        self.started = False
        self.renewed_s = clock.seen_s - clock.slack_ms / 1000
        """Since when, at the latest, its lease lasts: since its claim, or a commit that renewed it."""
        self.since_s = math.inf
        """Since when the heartbeat can see it."""
        self._host = host
        self._execution = execution
        self._outputs: BodyOutputs | None = None
        """Made when the first body says something."""
        self._bodies: dict[str, Body] = {}
        """Those whose outcome is wanted."""
        self._living: dict[str, Body] = {}
        """Those that have not really ended: also cancelled ones, and threads that outlive their timeout."""
        self._held_back: dict[str, RunBody] = {}
        """Attempts that wait for the thread of the one before."""
        self._deferred: Commit | None = None
        self._in_flight: Commit | None = None
        self._renews_s: float | None = None
        """When that commit left, if it renews the lease."""
        self._timer: Alarm | None = None
        self._fetching = False
        """Whether its mail is being read."""
        self._forget_crashes = claim.crashes > 0
        self._noted = b""
        self._dropped = False
        self._watch: RunWatch | None = None
        """Where somebody wants to know more than that it was here."""

    @property
    def is_dropped(self) -> bool:
        """Whether it is held no longer."""
        return self._dropped

    def start(self) -> None:
        """Take the run up. Call it as a callback of the worker's loop."""
        if not self._dropped:
            self.started = True
            now_ms = self.clock.now_ms()
            observer = self._host.observer
            observer.run_taken(self.claim, self._host.name, now_ms)
            if observer.wants_details:
                self._watch = RunWatch(observer, self.claim)
            self._tell(self._execution.start, now_ms)

    def drop(self, how: str = "dropped") -> None:
        """Out of memory: bodies are cancelled, workflow code cleans up, nothing more is recorded."""
        if not self._dropped:
            self._let_go(how)
            # Workflow code cleans up as it ran: in a callback of the loop, whoever it is that drops the run.
            asyncio.get_running_loop().call_soon(self._evict)

    def _let_go(self, how: str) -> None:
        self._dropped = True
        if self.started:
            self._host.observer.run_left(self.claim, how, self.clock.now_ms())
        if self._timer is not None:
            self._timer.cancel()
        if self._outputs is not None:
            self._outputs.close()
        for body in list(self._bodies.values()):
            self._host.bodies.cancel(body)
        self._bodies.clear()
        self._held_back.clear()
        self._host.dropped(self)

    def _evict(self) -> None:
        try:
            self._execution.evict()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001  # code of users
            _log.error(
                "workflow code of run %s raised while it was dropped, which changes nothing: %s",
                self.claim.hold.run_id,
                outline(error),
                extra=fields_of(self.claim),
            )

    def _tell(self, event: Callable[..., list[Command]], *what: Any) -> None:
        """Tell the execution what has happened, and do what it says."""
        try:
            self._do(event(*what))
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001  # a defect, or what code of users raises past all Exceptions
            # Nobody above would drop the run: it would be held, and its lease renewed, for ever. And others stand
            # behind it, who are told in the same turn. What it says is the run's error: it may be what users store.
            _log.error(
                "run.suspended %s: the engine failed, %s",
                self.claim.hold.run_id,
                outline(error),
                extra=fields_of(self.claim),
            )
            self.drop("suspended")
            problem = codec.encode(Failure.of(error).to_wire())
            answer = self._host.backend.shelve_run(
                self.claim.hold, reason="suspended", problem=problem, first_ms=0, last_ms=0
            )
            answer.add_done_callback(forget)

    def _do(self, commands: list[Command]) -> None:
        for command in commands:
            if self._dropped:
                return
            match command:
                case RunBody():
                    self._run_body(command)
                case CancelBody():
                    self._held_back.pop(command.key, None)
                    body = self._bodies.pop(command.key, None)
                    if body is not None:
                        self._host.bodies.cancel(body)
                case Commit():
                    if self._watch is not None:
                        self._watch.commit(command)
                    self._commit(command)
                case _:
                    assert_never(command)
        if (self._bodies or self._held_back) and not self._dropped:
            self._set_timer()

    # -- bodies ---------------------------------------------------------------------------------------------------

    def _run_body(self, command: RunBody) -> None:
        if command.key in self._living:
            # The attempt before was a sync body that outlived its timeout: two at a time would be one too many.
            self._held_back[command.key] = command
            return
        body = Body(command, self.claim.hold.run_id, self, self._host.bodies)
        if self._watch is not None:
            self._watch.begin(body)
        self._bodies[command.key] = self._living[command.key] = body
        self._host.bodies.start(body)

    def may_start(self, now_s: float) -> bool:
        """See `Owner`."""
        # This process was stopped for a while, say, and the first thing that it sees is an old reply: the step that
        # follows may have been run, and recorded, by another worker.
        if not self._dropped and self._host.is_lease_over(self, now_s):
            _log.warning(
                "run.lease_lost %s: noticed before a step, which is not begun here",
                self.claim.hold.run_id,
                extra=fields_of(self.claim),
            )
            self.drop()
        return not self._dropped

    def outputs(self, loop: asyncio.AbstractEventLoop) -> BodyOutputs:
        """See `Owner`."""
        if self._outputs is None:
            with _MAKING:
                if self._outputs is None:
                    self._outputs = BodyOutputs(self, self._host.backend.events, loop)
        return self._outputs

    @property
    def is_speaking(self) -> bool:
        """Whether its code has said something that is not stored yet."""
        commit = None if self._deferred else self._in_flight
        return (commit is not None and commit.extension.saying is not None) or self._execution.is_speaking

    def body_ended(self, body: Body, outcome: BodyOutcome) -> None:
        """See `Owner`."""
        if self._bodies.get(body.key) is body:
            del self._bodies[body.key]
        if self._watch is not None:
            self._watch.end(body, outcome)
        if self._outputs is None:
            self._record(body, outcome)
        else:
            # The last tokens of a stream are stored before the step has a result, or they might never be.
            self._outputs.when_out(functools.partial(self._record, body, outcome))

    def _record(self, body: Body, outcome: BodyOutcome) -> None:
        if self._dropped:
            return
        clock = self.clock
        began_ms, now_ms = clock.at_ms(body.started_s), clock.at_ms(time.monotonic())
        if type(outcome) is Raised:
            self._host.observer.attempt_failed(self.claim, now_ms)
        self._tell(self._execution.body_ended, body.key, body.attempt, outcome, began_ms, now_ms)

    def body_gone(self, body: Body) -> None:
        """See `Owner`."""
        key = body.key
        if self._living.get(key) is body:
            del self._living[key]
        if self._watch is not None and body.cancelled:
            self._watch.give_up(body)
        if self._dropped:
            return
        following = self._held_back.pop(key, None)
        if following is not None:
            self._run_body(following)
        elif not self._living and self._deferred is not None:
            commit, self._deferred = self._deferred, None
            self._commit(commit)

    def _set_timer(self) -> None:
        """While bodies run the worker keeps the run, so retries and timers that fall due act here."""
        due_at_ms = self._execution.next_due_at_ms
        if due_at_ms is None and self._timer is None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due_at_ms is not None:
            self._timer = self.clock.call_at(due_at_ms, self._time_passed)

    def _time_passed(self) -> None:
        if not self._dropped:
            self._tell(self._execution.time_passed, self.clock.now_ms())

    # -- commits --------------------------------------------------------------------------------------------------

    def _commit(self, commit: Commit) -> None:
        backend, hold = self._host.backend, self.claim.hold
        then = commit.then
        self._in_flight = commit
        match then:
            case GoOn():
                now_s = time.monotonic()
                renew = self._host.name if self._host.is_lease_stale(self, now_s) else None
                self._renews_s = now_s if renew else None
                answer = backend.commit_run(
                    hold,
                    commit.extension,
                    renew_for=renew,
                    forget_crashes=self._forget_crashes,
                    seen=commit.seen,
                )
                self._forget_crashes = False
            case Park():
                if self._living:
                    self._deferred = commit
                    return
                if self.claim.is_limited:
                    let_slots_go(commit)
                answer = backend.park_run(
                    hold,
                    commit.extension,
                    reason=then.reason,
                    due_at_ms=then.due_at_ms,
                    seen=commit.seen,
                    wants=then.wants,
                )
            case Finish():
                if self.claim.end_effects:
                    commit.extension.effects = (*commit.extension.effects, *self.claim.end_effects)
                if self.claim.is_limited:
                    let_slots_go(commit)
                answer = backend.finish_run(hold, commit.extension, status=then.status, payload=then.payload)
            case Continue():
                answer = backend.continue_run(hold, commit.extension, payload=then.input)
            case Suspend():
                answer = backend.shelve_run(
                    hold,
                    reason="suspended",
                    problem=then.problem,
                    first_ms=0 if then.is_runaway else FIRST_OFFER_MS,
                    last_ms=LAST_OFFER_MS,
                )
            case _:
                assert_never(then)
        answer.add_done_callback(self._committed)

    def _committed(self, answer: Answer[Verdict]) -> None:
        commit, self._in_flight = self._in_flight, None
        try:
            verdict = answer.result()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # whatever it is, what is recorded is not known
            if not self._dropped:
                _log.error(
                    "a commit of run %s failed; it is taken up again when its lease ends",
                    self.claim.hold.run_id,
                    exc_info=error,
                    extra=fields_of(self.claim),
                )
                self.drop()
            return
        if self._dropped or commit is None:
            return
        if self._watch is not None and verdict in {Verdict.OK, Verdict.MAIL}:
            self._watch.committed(commit)
        if verdict is Verdict.OK and isinstance(commit.then, GoOn):
            self._has_gone_on()
            self._tell(self._execution.committed, self.clock.now_ms())
            return
        if verdict is Verdict.MAIL:
            self._go_on_to_mail(commit)
            return
        self._host.ends.log_end(self.claim, commit.then, verdict)
        self._let_go(word_of(commit.then, verdict))
        self._evict()
        if verdict is Verdict.BEHIND:
            # Somebody else's commit is in the record, or ours is not: whoever claims it next loads it anew.
            self._host.backend.release_run(self.claim.hold).add_done_callback(forget)

    def _has_gone_on(self) -> None:
        if self._outputs is not None:
            self._outputs.resume()
        self.renewed_s = self._renews_s or self.renewed_s
        if self.claim.crashes:
            self._host.has_recorded(self)

    # -- mail -----------------------------------------------------------------------------------------------------

    def _go_on_to_mail(self, commit: Commit) -> None:
        """It was recorded, and mail has come that the execution does not know: what was to be parked is not."""
        self._has_gone_on()
        event = self._execution.committed if isinstance(commit.then, GoOn) else self._execution.not_parked
        self._tell(event, self.clock.now_ms())
        self.fetch_mail()

    def has_mail(self, number: int) -> None:
        """The heartbeat saw that so many items have come, all in all."""
        seen = self._execution.mail_seen
        if seen is not None and seen < number:
            self.fetch_mail()

    def fetch_mail(self) -> None:
        """Something has come: read it. What is told while it is read is found by the next look, or by the commits."""
        seen = self._execution.mail_seen
        if self._dropped or not self.started or self._fetching or seen is None:
            return
        self._fetching = True
        answer = self._host.backend.mail.read_mail(self.claim.hold.run_id, seen)
        answer.add_done_callback(self._fetched)

    def _fetched(self, answer: Answer[MailBatch]) -> None:
        self._fetching = False
        if self._dropped:
            return
        try:
            batch = answer.result()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # whatever it is, its mail is not known
            self._go_without_mail(error)
            return
        self._tell(self._execution.mail_came, batch.mail, batch.last, self.clock.now_ms())
        if batch.more:
            self.fetch_mail()

    def _go_without_mail(self, error: BaseException) -> None:
        """It could not be read: with a connection that was closed, or at all."""
        if isinstance(error, BackendError | CannotDecode) and not isinstance(error, BackendUnavailable):
            self._host.cannot_read(self, error)
            return
        _log.error(
            "mail of run %s could not be read; it is taken up again when its lease ends",
            self.claim.hold.run_id,
            exc_info=error,
            extra=fields_of(self.claim),
        )
        self.drop()

    # -- for people -----------------------------------------------------------------------------------------------

    def note_progress(self, now_s: float) -> None:
        """Show bodies that have run for longer than a second, where that has changed."""
        running = [] if self._dropped else progress_of(self._bodies.values(), self.clock, now_s)
        seen = repr([(p.key, p.attempt, p.details) for p in running]).encode()
        if running and seen != self._noted:
            self._noted = seen
            self._note(encode_progress(running))

    def look(self) -> None:
        """Somebody says that the run was taken from this worker; that may be old news. Ask, and drop it if so."""
        if not self._dropped:
            running = progress_of(self._bodies.values(), self.clock, time.monotonic())
            self._note(encode_progress(running) if self.started else WAITING)

    def mark_as_waiting(self) -> None:
        """A crash of this worker is not because of this run: it has not begun."""
        self._note(WAITING)

    def mark_as_begun(self, then: Callable[[Answer[Verdict]], None]) -> None:
        """From now on it may be; `then` is called with the answer."""
        self._host.backend.note_progress(self.claim.hold, BEGUN).add_done_callback(then)

    def _note(self, progress: bytes) -> None:
        self._host.backend.note_progress(self.claim.hold, progress).add_done_callback(self._noted_or_lost)

    def _noted_or_lost(self, answer: Answer[Verdict]) -> None:
        if not answer.cancelled() and answer.exception() is None and answer.result() is not Verdict.OK:
            self.drop()
