"""A run that this worker holds: carries out what its `Execution` says, and tells it what came of it.

Everything here happens in callbacks of the worker's loop, never inside one of its tasks: workflow code runs on a loop
of its own, and Python keeps one current task per thread.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Protocol, assert_never

from redisflow.contract import Backend, Claim, Verdict
from redisflow.engine.commands import CancelBody, Command, Commit, Finish, GoOn, Park, RunBody, Suspend
from redisflow.engine.execution import Execution
from redisflow.runs import Progress, encode_progress
from redisflow.worker.bodies import Bodies, Body

if TYPE_CHECKING:
    from redisflow.engine.commands import BodyOutcome
    from redisflow.worker.clock import ClaimClock

_log = logging.getLogger("redisflow.worker")


class Host(Protocol):
    """What a held run needs of its worker."""

    name: str
    backend: Backend
    bodies: Bodies

    def is_lease_stale(self, held: HeldRun) -> bool:
        """Whether a commit should renew the lease on its way."""
        ...

    def dropped(self, held: HeldRun) -> None:
        """The run is out of this worker's hands."""
        ...


class HeldRun:
    """One claimed run. `drop` takes it out of memory, whatever it is doing."""

    __slots__ = (
        "_bodies",
        "_deferred",
        "_dropped",
        "_execution",
        "_forget_crashes",
        "_host",
        "_noted",
        "_strays",
        "_timer",
        "claim",
        "clock",
        "started",
    )

    def __init__(self, host: Host, claim: Claim, clock: ClaimClock, execution: Execution) -> None:
        """Nothing runs until `start`."""
        self.claim = claim
        self.clock = clock
        self.started = False
        self._host = host
        self._execution = execution
        self._bodies: dict[str, Body] = {}
        self._strays = 0
        self._deferred: Commit | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._forget_crashes = claim.crashes > 0
        self._noted = b""
        self._dropped = False

    def start(self) -> None:
        """Take the run up. Call it as a callback of the worker's loop."""
        if not self._dropped:
            self.started = True
            self._do(self._execution.start(self.clock.now_ms()))

    def drop(self) -> None:
        """Out of memory: bodies are cancelled, workflow code cleans up, nothing more is recorded."""
        if self._dropped:
            return
        self._dropped = True
        if self._timer is not None:
            self._timer.cancel()
        for body in list(self._bodies.values()):
            self._host.bodies.cancel(body)
        self._bodies.clear()
        self._execution.evict()
        self._host.dropped(self)

    def _do(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case RunBody():
                    self._run_body(command)
                case CancelBody():
                    body = self._bodies.pop(command.key, None)
                    if body is not None:
                        self._host.bodies.cancel(body)
                case Commit():
                    self._commit(command)
                case _:
                    assert_never(command)
        if self._bodies and not self._dropped:
            self._set_timer()

    # -- bodies ---------------------------------------------------------------------------------------------------

    def _run_body(self, command: RunBody) -> None:
        body = Body(command, self.claim.hold.run_id, self._body_ended, self._body_gone)
        self._bodies[command.key] = body
        self._strays += 1
        self._host.bodies.start(body)

    def _body_ended(self, body: Body, outcome: BodyOutcome) -> None:
        if self._dropped:
            return
        key = body.command.key
        if self._bodies.get(key) is body:
            del self._bodies[key]
        now_ms = self.clock.now_ms()
        took_ms = int((time.monotonic() - body.started_s) * 1000)
        self._do(
            self._execution.body_ended(
                key, body.command.attempt, outcome, started_at_ms=now_ms - took_ms, now_ms=now_ms
            )
        )

    def _body_gone(self, _: Body) -> None:
        self._strays -= 1
        if self._strays == 0 and self._deferred is not None and not self._dropped:
            commit, self._deferred = self._deferred, None
            self._commit(commit)

    def _set_timer(self) -> None:
        """While bodies run the worker keeps the run, so retries and timers that fall due act here."""
        due_at_ms = self._execution.next_due_at_ms
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due_at_ms is not None:
            wait_s = max(0, due_at_ms - self.clock.now_ms()) / 1000
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._time_passed)

    def _time_passed(self) -> None:
        if not self._dropped:
            self._do(self._execution.time_passed(self.clock.now_ms()))

    # -- commits --------------------------------------------------------------------------------------------------

    def _commit(self, commit: Commit) -> None:
        backend, hold = self._host.backend, self.claim.hold
        then = commit.then
        match then:
            case GoOn():
                renew = self._host.name if self._host.is_lease_stale(self) else None
                answer = backend.commit_run(
                    hold, commit.extension, renew_for=renew, forget_crashes=self._forget_crashes
                )
                self._forget_crashes = False
            case Park():
                if self._strays:
                    self._deferred = commit
                    return
                answer = backend.park_run(hold, commit.extension, reason=then.reason, due_at_ms=then.due_at_ms)
            case Finish():
                answer = backend.finish_run(hold, commit.extension, status=then.status, payload=then.payload)
            case Suspend():
                answer = backend.shelve_run(hold, reason="suspended", problem=then.problem, first_ms=0, last_ms=0)
            case _:
                assert_never(then)
        answer.add_done_callback(lambda done: self._committed(commit, done))

    def _committed(self, commit: Commit, answer: asyncio.Future[Verdict]) -> None:
        if self._dropped or answer.cancelled():
            return
        error = answer.exception()
        if error is not None:
            _log.error("a commit failed; the run is left to its lease", exc_info=error, extra=self._fields())
            self.drop()
            return
        verdict = answer.result()
        if verdict is Verdict.OK and isinstance(commit.then, GoOn):
            self._do(self._execution.committed(self.clock.now_ms()))
            return
        self._log_end(commit, verdict)
        self.drop()
        if verdict is Verdict.BEHIND:
            # Somebody else's commit is in the record, or ours is not: whoever claims it next loads it anew.
            self._host.backend.release_run(self.claim.hold)

    # -- for people -----------------------------------------------------------------------------------------------

    def note_progress(self, now_s: float) -> None:
        """Show bodies that have run for longer than a second, where that has changed."""
        if self._dropped or not self._bodies:
            return
        now_ms = self.clock.now_ms()
        running = [
            Progress(
                body.command.key,
                body.command.ordinal,
                body.command.attempt,
                now_ms - int((now_s - body.started_s) * 1000),
                body.details,
            )
            for body in self._bodies.values()
            if body.started_s and now_s - body.started_s >= 1.0
        ]
        seen = repr([(p.key, p.attempt, p.details) for p in running]).encode()
        if running and seen != self._noted:
            self._noted = seen
            self._host.backend.note_progress(self.claim.hold, encode_progress(running))

    def running_steps(self) -> list[str]:
        """Keys of the bodies that run, for messages."""
        return list(self._bodies)

    def _fields(self) -> dict[str, Any]:
        return {"run_id": self.claim.hold.run_id, "workflow": self.claim.workflow}

    def _log_end(self, commit: Commit, verdict: Verdict) -> None:
        then = commit.then
        if verdict is not Verdict.OK:
            _log.info("run.dropped (%s)", verdict.value, extra=self._fields())
        elif isinstance(then, Suspend):
            _log.error("run.suspended %s: %s", self.claim.hold.run_id, then.message, extra=self._fields())
        elif isinstance(then, Finish) and then.status == "failed":
            _log.warning("run.failed %s", self.claim.hold.run_id, extra=self._fields())
        elif _log.isEnabledFor(logging.DEBUG):
            _log.debug("run.%s", "parked" if isinstance(then, Park) else "succeeded", extra=self._fields())
