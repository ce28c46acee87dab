"""What workflow code is given on a pass: results in the order of their numbers, then mail and timers.

Each is given with a run of the loop of its own, and is in the record by then, or becomes a new one here: so every later
pass is given the same.
"""

from __future__ import annotations

from typing import Any, cast

from redisflow.engine.calls import OpenCall, OpenSignal, OpenStep
from redisflow.engine.drift import never_asked
from redisflow.engine.history import Deliverable
from redisflow.engine.mailbox import Mailbox
from redisflow.engine.one_pass import Pass
from redisflow.engine.outcome import IN_RECORD, judge_mail
from redisflow.engine.reading import read_error, read_result
from redisflow.errors import CannotDecode
from redisflow.records import ChildEnded, StepFailed, TimerFired, UnwindingBegan


class Delivery(Pass):
    """The side of a pass that the code waits for."""

    __slots__ = ()

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
                drift = never_asked(known, port.history, port.calls.values(), port.unasked_patches)
                port.tolerate(drift, is_fatal=not port.is_lenient)
            return
        if number > port.delivered:  # noqa: PLR1730  # max() is a call: one more for every step
            port.delivered = number
        if record.at_ms > port.time_ms:  # noqa: PLR1730  # the same
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
        room = self._around.room(self._ledger.bytes, self._claim.hold.stored_bytes)
        record, value = judge_mail(call, mail, room, self._port.monotonic_ms())
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
