"""What stands behind `step`: workflow code asks here, and is answered from the record or noted down to be done.

Everything that an answer may depend on is the same on every pass: the place of the call among all calls, the records
that had been delivered when it was made, the time of the last of them, the run's own random source.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from collections.abc import Callable, Coroutine
from functools import lru_cache
from types import FunctionType
from typing import TYPE_CHECKING, Any, NoReturn

from redisflow.authoring.body import detached_arguments
from redisflow.authoring.inputs import INPUT_LIMIT, encode_input
from redisflow.authoring.options import StepOptions, StepPlan, resolve_options
from redisflow.authoring.outside import ChildOrder, start_child, start_detached
from redisflow.authoring.redis_script import Word
from redisflow.authoring.step import ChildTerms, RunInfo
from redisflow.contract import Claim
from redisflow.durations import from_ms
from redisflow.engine.calls import (
    Agenda,
    CallFuture,
    OpenCall,
    OpenChild,
    OpenCompensation,
    OpenRedis,
    OpenSignal,
    OpenSleep,
    OpenStep,
)
from redisflow.engine.drift import asked_for_another, never_asked, without_marker
from redisflow.engine.history import NO_HISTORY, History, Recorded
from redisflow.engine.ledger import Ledger
from redisflow.engine.live_log import LiveLogger
from redisflow.engine.loop import WorkflowLoop
from redisflow.engine.mailbox import Mailbox
from redisflow.engine.voice import Voice
from redisflow.engine.waits import Waits
from redisflow.errors import HistoryTooLong, InvalidLimit, InvalidWorkflow, NonDeterminismError, NotAllowedInWorkflow
from redisflow.mail import child_address, hash_signal_name, reply_address, signal_address
from redisflow.payload import PayloadType, return_annotation
from redisflow.records import (
    NOTHING_DELIVERED,
    Call,
    CallKind,
    ChildAsked,
    CompensationAsked,
    Patched,
    RedisAsked,
    SignalAsked,
    TimerAsked,
)
from redisflow.retry import RetryPolicy
from redisflow.run_id import derived_run_id, partition_for_key, partition_of
from redisflow.tags import decode_tags

if TYPE_CHECKING:
    from redisflow.authoring.definition import WorkflowDefinition

PATIENCE = 1_000
"""How often code that must not go on is told so before it is left waiting: it may catch what it is told, in a loop."""

_log = logging.getLogger("redisflow.workflow")


class Evicted(BaseException):
    """The run is leaving memory. It means nothing to anyone; workflow code that catches it gets it again."""


class Continued(BaseException):
    """Instead of a problem: the run begins anew with this input."""

    def __init__(self, data: bytes) -> None:
        """`data` is the encoded input."""
        super().__init__()
        self.data = data


class Port:
    """The side of a run that its code sees; `Execution` is the other."""

    __slots__ = (
        "_agenda",
        "_claim",
        "_info",
        "_ledger",
        "_loop",
        "_names",
        "_patches",
        "_random",
        "_refusals",
        "at_ms",
        "begun",
        "calls",
        "default_version",
        "definition",
        "delivered",
        "has_children",
        "has_drifted",
        "history",
        "is_evicted",
        "is_replaying",
        "look_at",
        "mailbox",
        "matched",
        "partitions",
        "payload_limit",
        "problem",
        "slack_ms",
        "stack",
        "time_ms",
        "waits",
    )

    def __init__(self, claim: Claim, loop: WorkflowLoop, ledger: Ledger, agenda: Agenda, slack_ms: int) -> None:
        """Nothing was asked yet."""
        self.calls: dict[str, OpenCall] = {}
        self.history: History = NO_HISTORY
        self.mailbox = Mailbox()
        self.waits = Waits(claim.waits) if claim.waits else None
        """For which signals the run waits, if it ever did."""
        self.has_children = False
        """Whether the code has ever asked for a child run on this pass."""
        self.partitions = 1
        """Of the namespace: where children may be spread."""
        self.payload_limit = INPUT_LIMIT
        """Bytes of a child's input."""
        self.matched = 0
        """How many of the calls that the record holds have been made."""
        self.begun = 0
        """How many of all calls have been awaited, or given up before."""
        self.is_replaying = bool(claim.records)
        self.is_evicted = False
        self.problem: BaseException | None = None
        """Why this pass must not go on."""
        self.delivered = NOTHING_DELIVERED
        """Number of the last record that the code was given."""
        self.time_ms = claim.started_at_ms
        """The time of that record; never decreasing."""
        self.at_ms = claim.started_at_ms
        """Now, by the server's clock or a little before it: up to `slack_ms`."""
        self.slack_ms = slack_ms
        self.default_version: str | None = None
        self.definition: WorkflowDefinition[Any, Any] | None = None
        """Of the workflow, once it begins."""
        self.look_at = sys.maxsize
        """At so many calls they are counted next."""
        self.stack: list[OpenCompensation] = []
        """Compensations, in the order in which they were asked for."""
        self._claim = claim
        self._loop = loop
        self._ledger = ledger
        self._agenda = agenda
        self._names: dict[str, int] = {}
        self._patches: dict[str, tuple[bool, Patched | None]] = {}
        """Patches that were asked for: the answer, and the record where it is not stored yet."""
        self.has_drifted = False
        self._refusals = 0
        self._random: random.Random | None = None
        self._info: RunInfo | None = None

    # -- what workflow code reads (StepPort) ----------------------------------------------------------------------

    @property
    def info(self) -> RunInfo:
        """Of this run."""
        if self._info is None:
            claim = self._claim
            self._info = RunInfo(
                id=claim.hold.run_id,
                workflow=claim.workflow,
                version=claim.version or self.default_version,
                attempt=1 + self.history.workflow_attempts,
                created_at=from_ms(claim.created_at_ms),
                deadline_at=None if claim.deadline_at_ms is None else from_ms(claim.deadline_at_ms),
                parent=claim.parent,
                continued=claim.continued,
                tags=decode_tags(claim.tags),
                scheduled_at=None if claim.scheduled_at_ms is None else from_ms(claim.scheduled_at_ms),
            )
        return self._info

    @property
    def random(self) -> random.Random:
        """Seeded by the run."""
        if self._random is None:
            self._random = random.Random(self._identity())  # noqa: S311  # to be the same on every pass
        return self._random

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """Silent on replay; what it says is an event, too."""
        return LiveLogger(self)

    @property
    def outputs(self) -> Voice:
        """Events and state."""
        return Voice(self, self._ledger)

    @property
    def resources(self) -> Any:
        """Bodies find theirs by context; workflow code has none."""
        return None

    def now_ms(self) -> int:
        """The time of the last record that was delivered."""
        return self.time_ms

    # -- what workflow code asks (StepPort) -----------------------------------------------------------------------

    def ask_step(
        self, name: str | StepOptions, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> OpenStep:
        """Claim a step's key. Its arguments are taken as they are now, on every attempt."""
        # Only functions of modules and classes are remembered: others may hold what they close over.
        is_lasting = type(name) is str and type(fn) is FunctionType and "<" not in fn.__qualname__
        plan, payload = _remembered_terms(name, fn) if is_lasting else _terms(name, fn)
        place, recorded = self._claim_place("run", plan.name)
        call = OpenStep(place, recorded, self)
        self.calls[place.key] = call
        if recorded is None or not recorded.has_ended:
            call.args, call.kwargs = detached_arguments(args, kwargs)
        else:
            call.args, call.kwargs = args, kwargs
        call.plan, call.fn, call.payload = plan, fn, payload
        return call

    def ask_compensation(
        self, name: str | StepOptions, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Put a step on the stack, with its arguments as they are now."""
        plan, payload = _terms(name, fn, "step.on_failure")
        place, recorded = self._claim_place("compensation", plan.name)
        call = OpenCompensation(place, recorded, self)
        self.calls[place.key] = call
        # Nobody has to await it.
        self.begun += 1
        call.args, call.kwargs = detached_arguments(args, kwargs)
        call.plan, call.fn, call.payload = plan, fn, payload
        if recorded is None:
            self._keep(call, is_first=not self.stack)
        self.stack.append(call)

    def _keep(self, call: OpenCompensation, *, is_first: bool) -> None:
        # With the first, whoever ends this run from outside learns that there is something to be undone.
        record = CompensationAsked(call.place, self.monotonic_ms())
        self._ledger.append(record, *(("compensable",) if is_first else ()))

    def next_compensation(self) -> OpenCompensation | None:
        """The last one on the stack that has not begun."""
        return next((call for call in reversed(self.stack) if call.state == "kept"), None)

    def unwind(self, *, withdraw: bool) -> list[OpenCompensation]:
        """The code of this run is not to go on: what is left of the stack, the last one first.

        `withdraw`: what the code has asked for, and is not in the record, was not to be asked for any more.
        """
        if withdraw:
            self._ledger.withdraw()
            for _, marker in self._patches.values():
                if marker is not None:
                    self._ledger.append(marker)
            for call in self.stack:
                if call.recorded is None:
                    self._keep(call, is_first=call is self.stack[0])
        self._agenda.give_up_all()
        self._agenda.clear()
        self.mailbox.clear()
        self.mailbox.is_used = False
        if self.waits is not None:
            self.waits.end_all()
        left = [call.again() for call in reversed(self.stack) if not call.has_ended]
        self.calls.update((call.key, call) for call in left)
        return left

    def move_to(self, loop: WorkflowLoop) -> None:
        """Who waits from now on waits there."""
        self._loop = loop

    def ask_sleep(self, name: str, ms: int, *, relative: bool) -> OpenSleep:
        """Claim a durable sleep's key."""
        place, recorded = self._claim_place("sleep", name)
        call = OpenSleep(place, recorded, self)
        self.calls[place.key] = call
        call.ms, call.is_relative = ms, relative
        return call

    def ask_signal(self, name: str, annotation: Any, timeout_ms: int | None) -> OpenSignal:
        """Claim the key of a wait for a signal."""
        payload = PayloadType.of(annotation)
        place, recorded = self._claim_place("signal", name)
        call = OpenSignal(place, recorded, self)
        self.calls[place.key] = call
        call.address, call.payload, call.timeout_ms = signal_address(name), payload, timeout_ms
        call.name_hash = hash_signal_name(name)
        return call

    def ask_redis(self, name: str, words: tuple[Word, ...]) -> OpenRedis:
        """Claim the key of a script."""
        place, recorded = self._claim_place("redis", name)
        call = OpenRedis(place, recorded, self)
        self.calls[place.key] = call
        # What begins anew, in another workflow attempt or round, has another key: receipts are the run's own.
        call.once = self.idempotency_key(call).removeprefix(self._claim.hold.run_id)
        call.address, call.words, call.payload = reply_address(call.once), words, PayloadType.of(None)
        return call

    def ask_child(self, terms: ChildTerms, value: Any) -> OpenChild:
        """Claim the key of a child run. Its input is validated and encoded as it is now."""
        spec = terms.spec
        data, _ = encode_input(spec, value, self.payload_limit)
        place, recorded = self._claim_place("child", terms.name)
        call = OpenChild(place, recorded, self)
        self.calls[place.key] = call
        order = self._order_child(terms, data, call)
        call.child_id, order.parent = order.run_id, self._claim.hold.run_id
        call.address, call.policy = child_address(call.child_id), terms.on_parent_end
        call.plan, call.fn, call.payload = StepPlan(terms.name, _UNTIL_STARTED, None), start_child, spec.output
        call.args, call.kwargs = (order,), {}
        self.has_children = True
        return call

    def ask_detached(self, terms: ChildTerms, value: Any) -> OpenStep:
        """Claim the key of a step that starts a child and is done."""
        data, _ = encode_input(terms.spec, value, self.payload_limit)
        call = self.ask_step(terms.name, start_detached, (), {})
        call.args = (self._order_child(terms, data, call),)
        call.plan = StepPlan(terms.name, _UNTIL_STARTED, None)
        return call

    def _order_child(self, terms: ChildTerms, data: bytes, call: OpenCall) -> ChildOrder:
        order = ChildOrder(
            terms.spec, data, version=terms.version, queue=terms.queue, deadline_ms=terms.timeout_ms, tags=terms.tags
        )
        # The same on every attempt, so that a child is created once.
        seed, parent = self.idempotency_key(call), self._claim.hold.run_id
        where = partition_for_key(seed, self.partitions) if terms.spread else partition_of(parent)
        order.run_id = derived_run_id(seed, parent, where)
        return order

    def idempotency_key(self, call: OpenCall) -> str:
        """The same on every attempt of this call, and another one once a failed workflow attempt has archived it."""
        claim = self._claim
        key = f"{self._identity() if claim.continued else claim.hold.run_id}:{call.key}"
        if restarts := self.history.restarts:
            epoch = sum(call.key == one.key or call.place.mark >= one.first for one in restarts)
            # No key ends like this: names may not end in # and digits, and repeated ones are numbered from 1.
            key = f"{key}#0{epoch}" if epoch else key
        return key

    def _claim_place(self, kind: CallKind, name: str) -> tuple[Call, Recorded | None]:
        if asyncio._get_running_loop() is not self._loop:  # noqa: SLF001  # see `_check_place`
            self._check_place(kind, name)
        if self.is_evicted or self.problem is not None:
            return self._refuse(name), None
        used = self._names.get(name, 0)
        self._names[name] = used + 1
        place = Call(name if used == 0 else f"{name}#{used}", len(self.calls), self.delivered)
        if len(self.calls) >= self.look_at and place.key not in self.history.by_key:
            self._look_at_length(kind)
        if not self.history.by_key:
            return place, None
        recorded = self.history.by_key.get(place.key)
        if recorded is not None and recorded.kind == kind and recorded.call == place:
            self.matched += 1
            return place, recorded
        other = self.history.by_ordinal.get(place.ordinal) if recorded is None else recorded
        return (place, None) if other is None else self._drift(kind, place, other, recorded)

    def _identity(self) -> str:
        """Of what this run does: another one each time that it is continued as new."""
        claim = self._claim
        return f"{claim.hold.run_id}~{claim.continued}" if claim.continued else claim.hold.run_id

    def continue_as_new(self, value: Any) -> NoReturn:
        """Nothing of this pass goes on."""
        self._check_place("continue_as_new", "")
        assert self.definition is not None  # noqa: S101  # its code runs
        data, _ = encode_input(self.definition.spec, value)
        # A verdict from outside comes first: the run is to be undone, and ends.
        if not self.is_evicted and self.problem is None and self._claim.ending is None:
            self.problem = Continued(data)
        raise Evicted

    def leave_behind(self) -> None:
        """The run begins anew: nobody waits for its children any more, nor takes what they have sent."""
        for call in self.calls.values():
            if isinstance(call, OpenChild) and call.state not in {"asked", "recorded"}:
                self._ledger.do("drop", call.child_id)
        for number in self.mailbox.from_children():
            self._ledger.do("take", number)

    def _look_at_length(self, kind: CallKind) -> None:
        assert self.definition is not None  # noqa: S101  # its code runs
        most, many = self.definition.max_steps, self.definition.warn_steps
        count = sum(call.kind != "child" for call in self.calls.values())
        run_id = self._claim.hold.run_id
        if count >= most and kind != "child":
            msg = (
                f"run {run_id} has made {count} calls, which is as many as its history may have (max_steps of its "
                "workflow). Let it begin anew with what it still needs: step.continue_as_new(input)"
            )
            raise HistoryTooLong(msg)
        if count == many and kind != "child" and not self.is_replaying:
            _log.warning(
                "run %s has made %d calls: replaying them takes longer and longer, and at %d it fails. "
                "Let it begin anew now and then: step.continue_as_new(input)",
                run_id,
                count,
                most,
                extra={"run_id": run_id},
            )
        # As many calls must come at least before either is reached.
        self.look_at = len(self.calls) + max(1, (many if count < many else most) - count)

    def _check_place(self, kind: str, name: str) -> None:
        if asyncio._get_running_loop() is not self._loop and not self._loop.is_closed():  # noqa: SLF001  # documented
            msg = (
                f"step.{kind}({name!r}) was called outside its workflow's code (in a step's body, a thread, or after "
                "the run ended): a body speaks to its workflow by its return value alone"
            )
            raise NotAllowedInWorkflow(msg)

    def _drift(self, kind: CallKind, place: Call, other: Recorded, recorded: Recorded | None) -> tuple[Call, Any]:
        is_fatal = not self.is_lenient or (recorded is not None and recorded.kind != kind)
        if is_fatal or not self.has_drifted:
            self.tolerate(asked_for_another(other, kind, place, self.history, self.calls.values()), is_fatal=is_fatal)
        if is_fatal:
            raise Evicted from None
        if recorded is None:
            return place, None
        self.matched += 1
        return recorded.call, recorded

    @property
    def is_lenient(self) -> bool:
        """Whether code that does not match its record goes on where it can: see `tolerate`."""
        return self.definition is not None and self.definition.on_drift == "warn"

    def tolerate(self, drift: NonDeterminismError, *, is_fatal: bool = False) -> None:
        """Go on with code that does not match, and say so, once on each pass; or not, where that is not sound.

        Results are found by name and kind alone, wherever the code asks for them; what the record does not have runs,
        what the code does not ask for is passed over.
        """
        if is_fatal:
            self.problem = drift
        elif not self.has_drifted:
            self.has_drifted = True
            _log.warning("run.drift %s: %s", self._claim.hold.run_id, drift, extra={"run_id": self._claim.hold.run_id})

    def is_patched(self, name: str) -> bool:
        """Whether this run came here for the first time with the code that asks for this patch."""
        known = self._patches.get(name)
        if known is not None:
            return known[0]
        self._check_place("patched", name)
        if self.is_evicted or self.problem is not None:
            self._refuse(name)
            return False
        if name in self.history.patches:
            known = True, None
        elif self.is_replaying and (self.history.last > self.delivered or self.matched < len(self.history.by_key)):
            # Its record goes on from here: it was here before, with code that did not ask.
            known = False, None
        else:
            known = True, Patched(self.monotonic_ms(), name)
            self._ledger.append(known[1])
        self._patches[name] = known
        return known[0]

    def _refuse(self, name: str) -> Call:
        self._refusals += 1
        if self._refusals <= PATIENCE:
            raise Evicted
        return Call(name, -1, self.delivered)

    # -- what calls do when they are awaited, or given up (Desk) --------------------------------------------------

    def begin_step(self, call: OpenStep) -> CallFuture:
        """Its body starts when it may, unless the record says how it ended."""
        future = self._begin(call)
        recorded = call.recorded
        call.attempt = 1
        if self.is_evicted or self.problem is not None:
            pass
        elif recorded is None:
            self._agenda.make_ready(call, self._ledger.count)
        elif recorded.due_at_ms is not None:
            call.attempt = recorded.attempts + 1
            self._agenda.wait(call, recorded.due_at_ms)
        else:
            call.state = "recorded"
        return future

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
            self._agenda.wait(call, due_at_ms)
        else:
            self._agenda.make_ready(call, self._ledger.count)
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
            self._ledger.append(TimerAsked(call.place, self.monotonic_ms(), due_at_ms))
            self._agenda.wait(call, due_at_ms)
        elif recorded.due_at_ms is not None:
            self._agenda.wait(call, recorded.due_at_ms)
        else:
            call.state = "recorded"
        return future

    def begin_signal(self, call: OpenSignal) -> CallFuture:
        """It takes the first signal that no earlier wait has taken, and keeps its time over every later claim."""
        future = self._begin(call)
        recorded = call.recorded
        if self.is_evicted or self.problem is not None:
            return future
        if recorded is not None and recorded.has_ended:
            self.mailbox.is_used = True
            call.state = "recorded"
            return future
        if recorded is None:
            due_at_ms = None if call.timeout_ms is None else self.at_ms + self.slack_ms + call.timeout_ms
            self._ledger.append(SignalAsked(call.place, self.monotonic_ms(), due_at_ms))
        else:
            due_at_ms = recorded.due_at_ms
        call.state = "waiting"
        if due_at_ms is not None:
            self._agenda.wait(call, due_at_ms)
        self.mailbox.listen(call)
        if self.waits is None:
            self.waits = Waits(())
        self.waits.begin(call.name_hash)
        return future

    def begin_redis(self, call: OpenRedis) -> CallFuture:
        """Its script runs in the step that records this, and never again: the reply is in the mailbox by then."""
        future = self._begin(call)
        recorded = call.recorded
        if self.is_evicted or self.problem is not None:
            return future
        if recorded is not None and recorded.has_ended:
            self.mailbox.is_used = True
            call.state = "recorded"
            return future
        if recorded is None:
            self._ledger.append(RedisAsked(call.place, self.monotonic_ms()), "redis", call.once, *call.words)
        call.words = ()
        call.state = "waiting"
        self.mailbox.listen(call)
        return future

    def begin_child(self, call: OpenChild) -> CallFuture:
        """The child is started once it is recorded that it will be: then whoever ends this run early finds it."""
        future = self._begin(call)
        recorded = call.recorded
        call.attempt = 1
        if self.is_evicted or self.problem is not None:
            return future
        if recorded is None:
            self._ledger.append(
                ChildAsked(call.place, self.monotonic_ms(), call.child_id), "kid", call.child_id, call.policy
            )
            self._agenda.make_ready(call, self._ledger.count)
            return future
        call.attempt = recorded.attempts + 1
        if recorded.has_ended:
            self.mailbox.is_used = True
            call.state = "recorded"
        elif recorded.has_started or self.mailbox.has(call.address):
            self.await_child(call)
        elif recorded.due_at_ms is not None:
            self._agenda.wait(call, recorded.due_at_ms)
        else:
            self._agenda.make_ready(call, self._ledger.count)
        return future

    def await_child(self, call: OpenChild) -> None:
        """It exists: its end is to come."""
        call.state = "waiting"
        self.mailbox.listen(call)

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
            self._ledger.do("drop", call.child_id)
        if isinstance(call, OpenSignal) and call.state == "waiting" and self.waits is not None:
            self.waits.end(call.name_hash)
        self._agenda.give_up(call)

    # -- what the other side needs --------------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Whether it is workflow code that asks."""
        return asyncio._get_running_loop() is self._loop  # noqa: SLF001  # documented

    @property
    def has_left(self) -> bool:
        """Whether the run has left memory."""
        return self._loop.is_closed()

    def monotonic_ms(self) -> int:
        """Now, but never before anything that was recorded."""
        return max(self.at_ms, self.time_ms)

    def absence(self, *, at_end: bool) -> NonDeterminismError | None:
        """What the record holds and the code has not asked for, as an error where that must not be.

        Lenient, it may still be to come before the code is `at_end`, and then be passed over unless others rest on it.
        """
        history = self.history
        if self.matched == len(history.by_key) and not (history.patches and history.patches - self._patches.keys()):
            return None
        if self.is_lenient and not at_end:
            return None
        forgotten = [known for key, known in history.by_key.items() if key not in self.calls]
        grave = [known for known in forgotten if not self.is_lenient or known.kind in {"child", "compensation"}]
        if grave:
            return never_asked(grave[0], history, self.calls.values())
        if forgotten and not self.has_drifted:
            self.tolerate(never_asked(forgotten[0], history, self.calls.values()))
        unknown = sorted(history.patches - self._patches.keys())
        return without_marker(unknown[0]) if unknown else None

    def has_begun(self, key: str) -> bool:
        """Whether the code has made this call, and waits for it or did."""
        call = self.calls.get(key)
        return call is not None and call.state not in {"asked", "kept"}

    def never_begun(self) -> list[str]:
        """Keys of calls that were made and not awaited."""
        if self.begun == len(self.calls):
            return []
        return [key for key, call in self.calls.items() if call.state == "asked"]

    def evict(self) -> None:
        """From here on everything is refused."""
        self.is_evicted = True

    def clear(self) -> None:
        """Let go of the calls, which know their desk: rings would wait for the garbage collector."""
        self.calls.clear()
        self.stack.clear()
        self._agenda.clear()
        self.mailbox.clear()


def _terms(
    name: str | StepOptions, fn: Callable[..., Any], call: str = "step.run"
) -> tuple[StepPlan, PayloadType[Any]]:
    plan = resolve_options(name, fn)
    if not callable(fn):
        if isinstance(fn, Coroutine):
            fn.close()
        msg = (
            f"{call}({plan.name!r}) takes a function and its arguments, not a value of type {type(fn).__qualname__}: "
            f"write `{call}(name, fn, *args)`, without calling it"
        )
        raise InvalidWorkflow(msg)
    return plan, PayloadType.of(return_annotation(fn))


_UNTIL_STARTED = RetryPolicy(
    maximum_attempts=0, initial_interval="100ms", maximum_interval="30s", non_retryable=(InvalidLimit,)
)
"""A child is started as soon as the server takes it; only its limits may refuse it for good."""

_remembered_terms = lru_cache(maxsize=4096)(_terms)
