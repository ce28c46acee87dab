"""What calls do when they are awaited, and when nobody waits for them any more.

A call that the record knows goes on where it was; one that it does not know is asked for with a record, or starts when
all that it rests on is stored.
"""

from __future__ import annotations

from redisflow.engine.calls import (
    CallFuture,
    OpenCall,
    OpenChild,
    OpenCompensation,
    OpenMailCall,
    OpenRedis,
    OpenSignal,
    OpenSleep,
    OpenStep,
)
from redisflow.engine.places import Places
from redisflow.engine.waits import Waits
from redisflow.records import (
    ChildAsked,
    CompensationAsked,
    RedisAsked,
    SignalAsked,
    TimerAsked,
)


class CallDesk(Places):
    """Where a call of this pass goes: see `Desk`."""

    __slots__ = ()

    def begin_step(self, call: OpenStep) -> CallFuture:
        """Its body starts when it may, unless the record says how it ended."""
        future = self._begin(call)
        recorded = call.recorded
        call.attempt = 1
        if self.is_evicted or self.problem is not None:
            pass
        elif recorded is None:
            self.agenda.make_ready(call, self.ledger.count)
        elif recorded.due_at_ms is not None:
            call.attempt = recorded.attempts + 1
            self.agenda.wait(call, recorded.due_at_ms)
        else:
            call.state = "recorded"
        return future

    def begin_sleep(self, call: OpenSleep) -> CallFuture:
        """A sleep keeps its due time over every later claim."""
        future = self._begin(call)
        recorded = call.recorded
        if self.is_evicted or self.problem is not None:
            pass
        elif recorded is None:
            due_at_ms = call.ms
            if call.is_relative:
                # The clock here may lag behind the server's, never lead: with the slack, no sleep is short.
                due_at_ms += self.at_ms + self.slack_ms
            self.ledger.append(TimerAsked(call.place, self.monotonic_ms(), due_at_ms))
            self.agenda.wait(call, due_at_ms)
        elif recorded.due_at_ms is not None:
            self.agenda.wait(call, recorded.due_at_ms)
        else:
            call.state = "recorded"
        return future

    def begin_signal(self, call: OpenSignal) -> CallFuture:
        """It takes the first signal that no earlier wait has taken, and keeps its time over every later claim."""
        future = self._begin(call)
        recorded = call.recorded
        if self.is_evicted or self.problem is not None or self._has_ended(call):
            return future
        if recorded is None:
            due_at_ms = None if call.timeout_ms is None else self.at_ms + self.slack_ms + call.timeout_ms
            self.ledger.append(SignalAsked(call.place, self.monotonic_ms(), due_at_ms))
        else:
            due_at_ms = recorded.due_at_ms
        call.state = "waiting"
        if due_at_ms is not None:
            self.agenda.wait(call, due_at_ms)
        self.open_mailbox().listen(call)
        if self.waits is None:
            self.waits = Waits(())
        self.waits.begin(call.name_hash)
        return future

    def begin_redis(self, call: OpenRedis) -> CallFuture:
        """Its script runs in the step that records this, and never again: the reply is in the mailbox by then."""
        future = self._begin(call)
        recorded = call.recorded
        if self.is_evicted or self.problem is not None or self._has_ended(call):
            return future
        if recorded is None:
            self.ledger.append(RedisAsked(call.place, self.monotonic_ms()), "redis", call.once, *call.words)
        call.words = ()
        call.state = "waiting"
        self.open_mailbox().listen(call)
        return future

    def begin_child(self, call: OpenChild) -> CallFuture:
        """The child is started once it is recorded that it will be: then whoever ends this run early finds it."""
        future = self._begin(call)
        recorded = call.recorded
        call.attempt = 1
        if self.is_evicted or self.problem is not None:
            return future
        if recorded is None:
            self.ledger.append(
                ChildAsked(call.place, self.monotonic_ms(), call.child_id), "kid", call.child_id, call.policy
            )
            self.agenda.make_ready(call, self.ledger.count)
            return future
        call.attempt = recorded.attempts + 1
        if self._has_ended(call):
            return future
        if recorded.has_started or (self.mailbox is not None and self.mailbox.has(call.address)):
            self.await_child(call)
        elif recorded.due_at_ms is not None:
            self.agenda.wait(call, recorded.due_at_ms)
        else:
            self.agenda.make_ready(call, self.ledger.count)
        return future

    def await_child(self, call: OpenChild) -> None:
        """It exists: its end is to come."""
        call.state = "waiting"
        self.open_mailbox().listen(call)

    def _has_ended(self, call: OpenMailCall) -> bool:
        """Whether the record says how it ended: this pass has waited for mail then, like the one that took it."""
        if call.recorded is None or not call.recorded.has_ended:
            return False
        self.open_mailbox().is_used = True
        call.state = "recorded"
        return True

    def _begin(self, call: OpenCall) -> CallFuture:
        if self.is_evicted or self.problem is not None:
            self._refuse(call.key)
        self.begun += 1
        call.future = future = CallFuture(loop=self._loop)
        future.call = call
        return future

    def drop(self, call: OpenCall) -> None:
        """It was given up before it began."""
        self.begun += 1
        call.state = "given up"

    def give_up(self, call: OpenCall) -> None:
        """Nobody waits for it any more. A run that only leaves memory gives up nothing."""
        if isinstance(call, OpenChild) and not self.is_evicted and self.problem is None:
            self.ledger.do("drop", call.child_id)
        if isinstance(call, OpenSignal) and call.state == "waiting" and self.waits is not None:
            self.waits.end(call.name_hash)
        self.agenda.give_up(call)

    # -- compensations --------------------------------------------------------------------------------------------

    def begin_compensation(self, call: OpenCompensation) -> CallFuture:
        """Its body starts when it may, unless the record says how it ended."""
        if self.is_evicted or self.problem is not None:
            self._refuse(call.key)
        call.future = future = CallFuture(loop=self._loop)
        future.call = call
        recorded = call.recorded
        due_at_ms = call.due_at_ms or (recorded.due_at_ms if recorded else None)
        if self.is_evicted or self.problem is not None:
            pass
        elif recorded is not None and recorded.has_ended:
            call.state = "recorded"
        elif due_at_ms:
            self.agenda.wait(call, due_at_ms)
        else:
            self.agenda.make_ready(call, self.ledger.count)
        return future

    def _keep(self, call: OpenCompensation, *, is_first: bool) -> None:
        # With the first, whoever ends this run from outside learns that there is something to be undone.
        record = CompensationAsked(call.place, self.monotonic_ms())
        self.ledger.append(record, *(("compensable",) if is_first else ()))

    def next_compensation(self) -> OpenCompensation | None:
        """The last one on the stack that has not begun."""
        return next((call for call in reversed(self.stack or ()) if call.state == "kept"), None)

    def unwind(self, *, withdraw: bool) -> list[OpenCompensation]:
        """The code of this run is not to go on: what is left of the stack, the last one first.

        `withdraw`: what the code has asked for, and is not in the record, was not to be asked for any more.
        """
        stack = self.stack or []
        if withdraw:
            self.ledger.withdraw()
            for _, marker in (self._patches or {}).values():
                if marker is not None:
                    self.ledger.append(marker)
            for call in stack:
                if call.recorded is None:
                    self._keep(call, is_first=call is stack[0])
        self.agenda.give_up_all()
        self.agenda.clear()
        if self.mailbox is not None:
            self.mailbox.clear()
            self.mailbox.is_used = False
        if self.waits is not None:
            self.waits.end_all()
        left = [call.again() for call in reversed(stack) if not call.has_ended]
        self.calls.update((call.key, call) for call in left)
        return left

    # -- the end of a pass ----------------------------------------------------------------------------------------

    def leave_behind(self) -> None:
        """The run begins anew: nobody waits for its children any more, nor takes what they have sent."""
        for call in self.calls.values():
            if isinstance(call, OpenChild) and call.state not in {"asked", "recorded"}:
                self.ledger.do("drop", call.child_id)
        if self.mailbox is not None:
            for number in self.mailbox.from_children():
                self.ledger.do("take", number)

    def clear(self) -> None:
        """Let go of the calls, which know their desk: rings would wait for the garbage collector."""
        self.calls.clear()
        if self.stack is not None:
            self.stack.clear()
        self.agenda.clear()
        if self.mailbox is not None:
            self.mailbox.clear()
