"""What stands behind `step`: workflow code asks here, and is answered from the record or noted down to be done.

`places.py` finds where a call stands in the record, `desk.py` does what it asks for once it is awaited. Here is what
the code may read, and each kind of call with what it takes along.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Coroutine
from functools import lru_cache
from types import FunctionType
from typing import Any, NoReturn

from redisflow.authoring.body import detached_arguments
from redisflow.authoring.children import NESTED_AT_MOST, ChildTerms
from redisflow.authoring.inputs import encode_input
from redisflow.authoring.options import StepOptions, StepPlan, resolve_options
from redisflow.authoring.outside import ChildOrder, start_child, start_detached
from redisflow.authoring.redis_script import Word
from redisflow.authoring.step_port import RunInfo
from redisflow.durations import MAX_DURATION_MS, from_ms
from redisflow.engine.calls import (
    OpenCall,
    OpenChild,
    OpenCompensation,
    OpenRedis,
    OpenSignal,
    OpenSleep,
    OpenStep,
)
from redisflow.engine.desk import CallDesk
from redisflow.engine.live_log import LiveLogger
from redisflow.engine.places import Evicted
from redisflow.engine.voice import Voice
from redisflow.errors import InvalidDuration, InvalidLimit, InvalidWorkflow, NestedTooDeep
from redisflow.mail import child_address, hash_signal_name, reply_address, signal_address
from redisflow.payload import PayloadType, return_annotation
from redisflow.records import (
    Patched,
)
from redisflow.retry import RetryPolicy
from redisflow.run_id import derived_run_id, partition_for_key, partition_of
from redisflow.tags import decode_tags


class Continued(BaseException):
    """Instead of a problem: the run begins anew with this input."""

    def __init__(self, data: bytes) -> None:
        """`data` is the encoded input."""
        super().__init__()
        self.data = data


class Port(CallDesk):
    """The side of a run that its code sees; `Execution` is the other."""

    __slots__ = ()

    # -- what workflow code reads (StepPort) ----------------------------------------------------------------------

    @property
    def info(self) -> RunInfo:
        """Of this run."""
        if self._info is None:
            claim = self._claim
            self._info = RunInfo(
                id=claim.hold.run_id,
                workflow=claim.workflow,
                version=claim.version or self.definition.spec.version,
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
            self._random = random.Random(self._identity)  # noqa: S311  # to be the same on every pass
        return self._random

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """Silent on replay; what it says is an event, too."""
        return LiveLogger(self)

    @property
    def outputs(self) -> Voice:
        """Events and state."""
        return Voice(self, self.ledger)

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
        if self.stack is None:
            self.stack = []
        self.stack.append(call)

    def ask_sleep(self, name: str, ms: int, *, relative: bool) -> OpenSleep:
        """Claim a durable sleep's key."""
        if not relative and ms > self.time_ms + MAX_DURATION_MS:
            msg = f"sleep_until: {from_ms(ms)} is more than 10 years from now"
            raise InvalidDuration(msg)
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
        spec, depth = terms.spec, self._claim.depth + 1
        if depth > NESTED_AT_MOST:
            msg = (
                f"child run {terms.name!r} of run {self._claim.hold.run_id} would be {depth} levels below the first: "
                f"{NESTED_AT_MOST} are allowed. Start it with step.start_workflow, for which nobody waits"
            )
            raise NestedTooDeep(msg)
        data, _ = encode_input(spec, value, self._around.payload_limit)
        place, recorded = self._claim_place("child", terms.name)
        call = OpenChild(place, recorded, self)
        self.calls[place.key] = call
        order = self._order_child(terms, data, call)
        call.child_id, order.parent, order.depth = order.run_id, self._claim.hold.run_id, depth
        call.address, call.policy = child_address(call.child_id), terms.on_parent_end
        call.plan, call.fn, call.payload = StepPlan(terms.name, _UNTIL_STARTED, None), start_child, spec.output
        call.args, call.kwargs = (order,), {}
        self.has_children = True
        return call

    def ask_detached(self, terms: ChildTerms, value: Any) -> OpenStep:
        """Claim the key of a step that starts a child and is done."""
        data, _ = encode_input(terms.spec, value, self._around.payload_limit)
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
        where = partition_for_key(seed, self._around.partitions) if terms.spread else partition_of(parent)
        order.run_id = derived_run_id(seed, parent, where)
        return order

    def is_patched(self, name: str) -> bool:
        """Whether this run came here for the first time with the code that asks for this patch."""
        if self._patches is None:
            self._patches = {}
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
            self.ledger.append(known[1])
        self._patches[name] = known
        return known[0]

    def continue_as_new(self, value: Any) -> NoReturn:
        """Nothing of this pass goes on."""
        self._check_place("continue_as_new", "")
        data, _ = encode_input(self.definition.spec, value)
        # A verdict from outside comes first: the run is to be undone, and ends.
        if not self.is_evicted and self.problem is None and self._claim.ending is None:
            self.problem = Continued(data)
        raise Evicted


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
