"""The calls of this pass that are open: asked for by workflow code, and where each of them stands."""

from __future__ import annotations

import asyncio
import heapq
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias

from redisflow.authoring.step_call import StepCall

if TYPE_CHECKING:
    from redisflow.authoring.options import StepPlan
    from redisflow.engine.history import Recorded
    from redisflow.payload import PayloadType
    from redisflow.records import Call, CallKind

CallState = Literal["asked", "kept", "ready", "running", "waiting", "recorded", "given up"]


_NO_ARGUMENTS: Mapping[str, Any] = {}


class Desk(Protocol):
    """Where a call goes when it begins, and when it is given up."""

    def begin_step(self, call: OpenStep) -> CallFuture:
        """It was awaited."""
        ...

    def begin_sleep(self, call: OpenSleep) -> CallFuture:
        """It was awaited."""
        ...

    def begin_signal(self, call: OpenSignal) -> CallFuture:
        """It was awaited."""
        ...

    def begin_compensation(self, call: OpenCompensation) -> CallFuture:
        """It is needed."""
        ...

    def begin_child(self, call: OpenChild) -> CallFuture:
        """It was awaited."""
        ...

    def begin_redis(self, call: OpenRedis) -> CallFuture:
        """It was awaited."""
        ...

    def drop(self, call: OpenCall) -> None:
        """It was given up before it began."""
        ...

    def give_up(self, call: OpenCall) -> None:
        """Nobody waits for it any more."""
        ...


class OpenCall(StepCall[Any]):
    """One `step.*` call of this pass."""

    __slots__ = ("_desk", "due_at_ms", "future", "place", "recorded", "state")

    kind: ClassVar[CallKind]

    def __init__(self, place: Call, recorded: Recorded | None, desk: Desk) -> None:
        """`recorded` is what the record of earlier passes holds of it."""
        # What its bases do, without a call: this is made for every step.
        self._waits = None
        self._is_spent = False
        self.key = place.key
        self.ordinal = place.ordinal
        self.place = place
        self.recorded = recorded
        self.state: CallState = "asked"
        self.future: CallFuture | None = None
        self.due_at_ms = 0
        self._desk = desk

    def __lt__(self, other: OpenCall) -> bool:
        """For queues, where time and place are alike: that of a tolerated drift."""
        return self.key < other.key

    def _drop(self) -> None:
        self._desk.drop(self)

    def end(self) -> CallFuture | None:
        """Its result is delivered: to this future, if anybody waits. What it was given is not needed any more."""
        future, self.future = self.future, None
        return future

    def give_up(self) -> None:
        """The task that waited for it was cancelled."""
        self.future = None
        self._desk.give_up(self)

    @abstractmethod
    def _begin(self) -> CallFuture: ...


class OpenStep(OpenCall):
    """A `step.run`."""

    __slots__ = ("args", "attempt", "fn", "kwargs", "needs", "payload", "plan")

    kind: ClassVar[CallKind] = "run"
    attempt: int
    """The attempt that runs, or the next one."""
    needs: int
    """How many records must be stored before its body may start: those that its being asked rests on."""
    plan: StepPlan
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    payload: PayloadType[Any]

    def _begin(self) -> CallFuture:
        return self._desk.begin_step(self)

    def end(self) -> CallFuture | None:
        """What it was given is not needed any more."""
        self.args, self.kwargs = (), _NO_ARGUMENTS
        return super().end()


class OpenSleep(OpenCall):
    """A durable sleep."""

    __slots__ = ("is_relative", "ms")

    kind = "sleep"
    ms: int
    is_relative: bool
    """`ms` counts from when it begins, else since 1970."""

    def _begin(self) -> CallFuture:
        return self._desk.begin_sleep(self)


class OpenSignal(OpenCall):
    """A wait for a signal."""

    __slots__ = ("address", "name_hash", "payload", "timeout_ms")

    kind = "signal"
    address: str
    """Of the mail that ends it."""
    name_hash: str
    """By which a broadcast finds the run."""
    payload: PayloadType[Any]
    timeout_ms: int | None

    def _begin(self) -> CallFuture:
        return self._desk.begin_signal(self)


class OpenCompensation(OpenStep):
    """A step that undoes something: it is kept on the run's stack until it is needed."""

    __slots__ = ("has_ended",)

    kind = "compensation"

    def __init__(self, place: Call, recorded: Recorded | None, desk: Desk) -> None:
        """Nobody waits for it yet."""
        super().__init__(place, recorded, desk)
        self.state = "kept"
        self.attempt = 1 if recorded is None else recorded.attempts + 1
        self.has_ended = False
        """Whether its end was delivered."""

    def again(self) -> OpenCompensation:
        """The same, for another who waits for it: the first one's code has been stopped."""
        made = OpenCompensation(self.place, self.recorded, self._desk)
        made.plan, made.fn, made.payload = self.plan, self.fn, self.payload
        made.args, made.kwargs = self.args, self.kwargs
        made.attempt, made.due_at_ms = self.attempt, self.due_at_ms if self.state == "waiting" else 0
        return made

    def _begin(self) -> CallFuture:
        return self._desk.begin_compensation(self)

    def end(self) -> CallFuture | None:
        """It is on the stack no longer."""
        self.has_ended = True
        return super().end()


class OpenChild(OpenStep):
    """A child run: a step whose body starts it, and which ends with the child's own end."""

    __slots__ = ("address", "child_id", "policy")

    kind = "child"
    address: str
    """Of the mail that ends it."""
    child_id: str
    policy: Literal["cancel", "leave"]
    """What becomes of the child if nobody waits for it any more."""

    def _begin(self) -> CallFuture:
        return self._desk.begin_child(self)


class OpenRedis(OpenCall):
    """A script of the user's, which the server runs in the step that records that it was asked for."""

    __slots__ = ("address", "once", "payload", "words")

    kind = "redis"
    address: str
    """Of the mail that ends it."""
    once: str
    """Its key among all scripts that this run ever asks for."""
    words: tuple[str | bytes | int, ...]
    """The script, its keys and its arguments, as the effect takes them."""
    payload: PayloadType[Any]

    def _begin(self) -> CallFuture:
        return self._desk.begin_redis(self)


OpenMailCall: TypeAlias = OpenSignal | OpenChild | OpenRedis
"""A call that mail ends."""


class CallFuture(asyncio.Future[Any]):
    """What workflow code waits on for a call; cancelling it gives the call up."""

    __slots__ = ("call",)

    call: OpenCall | None

    def cancel(self, msg: Any | None = None) -> bool:
        """The task that waits here was cancelled."""
        if not super().cancel(msg):
            return False
        # The call knows its future too: a run that is parked must not leave a ring behind.
        call, self.call = self.call, None
        if call is not None:
            call.give_up()
        return True


class Agenda:
    """What is to be done for the open calls: bodies that are ready, bodies that run, due times that are waited for."""

    __slots__ = ("_ready", "gave_up", "running", "waiting")

    def __init__(self) -> None:
        """Nothing is to be done."""
        self._ready: deque[OpenStep] = deque()
        self.waiting: list[tuple[int, int, OpenCall]] = []
        """A heap of those that may be due, now or later: due time and place in the code, and the call."""
        self.running: dict[str, OpenStep] = {}
        self.gave_up: list[str] = []
        """Keys of bodies that run and that nobody wants any more."""

    def make_ready(self, call: OpenStep, needs: int) -> None:
        """Its body may start once `needs` records are stored."""
        call.state = "ready"
        call.needs = needs
        self._ready.append(call)

    def wait(self, call: OpenCall, due_at_ms: int) -> None:
        """Nothing happens to it until it is due."""
        call.state = "waiting"
        call.due_at_ms = due_at_ms
        heapq.heappush(self.waiting, (due_at_ms, call.ordinal, call))

    def give_up(self, call: OpenCall) -> None:
        """Nobody waits for it any more. In the queues it is skipped when its turn comes."""
        if self.running.pop(call.key, None) is not None:
            self.gave_up.append(call.key)
        call.state = "given up"

    def clear(self) -> None:
        """Let go of all calls."""
        self._ready.clear()
        self.waiting.clear()
        self.running.clear()

    def give_up_all(self) -> None:
        """Nobody waits for anything any more."""
        self.gave_up.extend(self.running)
        self.running.clear()

    def take_ready(self, stored: int) -> OpenStep | None:
        """The next body to start, if one may start now; it runs from here on."""
        ready = self._ready
        while ready:
            call = ready[0]
            if call.state == "ready":
                if call.needs > stored:
                    return None
                ready.popleft()
                call.state = "running"
                self.running[call.key] = call
                return call
            ready.popleft()
        return None

    def take_due(self, now_ms: int) -> OpenCall | None:
        """The next call that is due: by its time, then by its place in the code."""
        call = self.next_waiting()
        if call is None or call.due_at_ms > now_ms:
            return None
        heapq.heappop(self.waiting)
        return call

    def next_waiting(self) -> OpenCall | None:
        """The call that is due first, not before now or later."""
        waiting = self.waiting
        while waiting and waiting[0][2].state != "waiting":
            heapq.heappop(waiting)
        return waiting[0][2] if waiting else None

    def has_started_children(self) -> bool:
        """Whether no child waits for another attempt to start it."""
        return not any(call.kind == "child" and call.state == "waiting" for _, _, call in self.waiting)

    def is_busy(self) -> bool:
        """Whether a body runs, or is ready to."""
        return bool(self.running) or self._has_ready()

    def _has_ready(self) -> bool:
        ready = self._ready
        while ready and ready[0].state != "ready":
            ready.popleft()
        return bool(ready)
