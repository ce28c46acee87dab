"""Runs the bodies of steps: async ones on the worker's loop, sync ones in its threads, with timeouts and cancellation.

The hard thing is the end: a body may end by itself, by its timeout, or because nobody wants it any more, and a sync
one cannot be stopped at all. `ended` is called once, unless the body was cancelled; `gone` once, when it really is.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import time
import types
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future as ThreadFuture
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, Protocol

from redisflow.authoring.body import BodyContext, current_body
from redisflow.authoring.outside import Outside
from redisflow.contract import Claim, NewEvent
from redisflow.contract.observer import Attempt
from redisflow.durations import describe_ms
from redisflow.engine.commands import BodyOutcome, Raised, Returned, RunBody
from redisflow.worker.outputs import BodyOutputs


class Owner(Protocol):
    """Whose body it is."""

    claim: Claim

    def may_start(self, now_s: float) -> bool:
        """Asked when its turn comes, with the monotonic instant. Where not, it was cancelled meanwhile."""
        ...

    def body_ended(self, body: Body, outcome: BodyOutcome) -> None:
        """It ended, and was not cancelled before."""
        ...

    def body_gone(self, body: Body) -> None:
        """It has really ended."""
        ...

    def outputs(self, loop: asyncio.AbstractEventLoop) -> BodyOutputs:
        """Where what it says goes; asked from any thread, `loop` is the worker's."""
        ...


class Body(BodyContext):
    """One attempt of a step, running or queued."""

    __slots__ = (
        "cancelled",
        "command",
        "context",
        "in_thread",
        "loop",
        "number",
        "owner",
        "started_s",
        "task",
        "thread",
        "timed_out",
        "timer",
        "watched",
    )

    def __init__(self, command: RunBody, run_id: str, owner: Owner, around: Bodies) -> None:
        """It is started by `Bodies`."""
        # Not by super(), which takes as long as all the rest: there is one for each step.
        BodyContext.__init__(
            self, run_id, command.key, command.attempt, command.idempotency_key, around.resources, around.outside
        )
        self.command = command
        self.loop: asyncio.AbstractEventLoop
        """The worker's, once it has started."""
        self.owner = owner
        self.started_s = 0.0
        """Monotonic; 0 while it is queued."""
        self.task: asyncio.Task[Any] | None = None
        self.thread: ThreadFuture[Any] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.number = 0
        """Its place among all bodies that were asked for."""
        self.in_thread = False
        self.cancelled = False
        self.timed_out = False
        self.watched: Attempt | None = None
        """Until its end is told, where somebody wants to know."""
        self.context: Context | None = None
        """In which it is to run; None: in a copy of the loop's own."""

    @property
    def workflow(self) -> str:
        """Of its run."""
        return self.owner.claim.workflow

    def emit(self, kind: str, data: bytes) -> None:
        """An event of its run."""
        self.owner.outputs(self.loop).emit(NewEvent(kind, data, self.key, self.attempt))

    def set_state(self, key: str, data: bytes) -> None:
        """A value of its run's state."""
        self.owner.outputs(self.loop).set_state(key, data)


@dataclass(slots=True)
class Bodies:
    """All bodies of a worker: at most `limit` at a time, of which at most `threads` are sync; the rest queue."""

    limit: int
    threads: int
    executor: ThreadPoolExecutor
    resources: Any = None
    outside: Outside | None = None
    running: set[Body] = field(default_factory=set[Body])
    _in_threads: int = 0
    _asked: int = 0
    _queue: deque[Body] = field(default_factory=deque[Body])
    _thread_queue: deque[Body] = field(default_factory=deque[Body])

    def start(self, body: Body) -> None:
        """Start it, now or when there is room. Call it from the worker's loop."""
        self._asked += 1
        body.number = self._asked
        body.in_thread = not is_async(body.command.fn)
        if len(self.running) < self.limit and (not body.in_thread or self._in_threads < self.threads):
            self._start(body)
        else:
            (self._thread_queue if body.in_thread else self._queue).append(body)

    def cancel(self, body: Body) -> None:
        """Nobody wants it any more: `ended` will not be called."""
        if body.cancelled:
            return
        body.cancelled = True
        if body.task is not None:
            body.task.cancel()
        else:
            # It is queued, and is passed over when its turn comes.
            body.owner.body_gone(body)

    async def wait_for_tasks(self, timeout_s: float) -> None:
        """Give cancelled async bodies time to clean up. Threads are not waited for: they may never end."""
        tasks = [body.task for body in self.running if body.task is not None and not body.task.done()]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)

    def _start(self, body: Body) -> None:
        now_s = time.monotonic()
        if not body.owner.may_start(now_s):
            return
        self.running.add(body)
        body.started_s = now_s
        body.loop = loop = asyncio.get_running_loop()
        if body.in_thread:
            self._in_threads += 1
            body.thread = self.executor.submit(_context_of(body).run, _run_in_thread, body)
            coroutine = _await_thread(body, body.thread)
        else:
            coroutine = _run_on_loop(body)
        # Not by loop.create_task, which would first think of a name.
        body.task = task = asyncio.Task(coroutine, loop=loop, name=body.key, context=body.context)
        task.add_done_callback(functools.partial(self._done, body))
        timeout_ms = body.command.timeout_ms
        if timeout_ms is not None:
            body.timer = loop.call_later(timeout_ms / 1000, self._time_out, body)

    def _time_out(self, body: Body) -> None:
        if body.task is not None and not body.task.done():
            body.timed_out = True
            body.task.cancel()

    def _done(self, body: Body, task: asyncio.Task[Any]) -> None:
        if body.timer is not None:
            body.timer.cancel()
        # Both know the body: without this the garbage collector would have to find all that they hold.
        thread, body.task, body.thread = body.thread, None, None
        if thread is not None and not thread.done() and not thread.cancel():
            # It cannot be stopped. Its run is told now, but is not parked, nor the step tried again, until it ends.
            loop = task.get_loop()
            thread.add_done_callback(lambda _: self._leave_from_thread(body, loop))
        else:
            self._leave(body)
        outcome = _outcome(body, task)
        if not body.cancelled:
            body.owner.body_ended(body, outcome)

    def _leave_from_thread(self, body: Body, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the worker went without this thread
            loop.call_soon_threadsafe(self._leave, body)

    def _leave(self, body: Body) -> None:
        self.running.discard(body)
        if body.in_thread:
            self._in_threads -= 1
        body.owner.body_gone(body)
        while (self._queue or self._thread_queue) and (following := self._next()) is not None:
            self._start(following)

    def _next(self) -> Body | None:
        """Take the queued body that has waited longest among those that there is room for."""
        heads: list[tuple[int, deque[Body]]] = []
        for queue in (self._queue, self._thread_queue):
            while queue and queue[0].cancelled:
                queue.popleft()
            if queue and (queue is self._queue or self._in_threads < self.threads):
                heads.append((queue[0].number, queue))
        return min(heads)[1].popleft() if heads and len(self.running) < self.limit else None


@dataclass(frozen=True, slots=True)
class _Exited:
    """A body called sys.exit(). As an exception of a task it would end the worker's loop; it is the step's failure."""

    error: SystemExit


def _outcome(body: Body, task: asyncio.Task[Any]) -> BodyOutcome:
    if body.timed_out:
        limit = describe_ms(body.command.timeout_ms or 0)
        return Raised(TimeoutError(f"the attempt took longer than its timeout of {limit}"), timed_out=True)
    if task.cancelled():
        return Raised(asyncio.CancelledError("the body cancelled itself"))
    error = task.exception()
    if error is not None:
        return Raised(error)
    value = task.result()
    return Raised(value.error) if type(value) is _Exited else Returned(value)


def _context_of(body: Body) -> Context:
    """For its thread: that of its task is entered there, and by nobody else at the same time."""
    return copy_context() if body.context is None else body.context.copy()


async def _run_on_loop(body: Body) -> Any:
    current_body.set(body)
    command = body.command
    # Called in here, so that arguments that do not fit are the step's failure, too.
    try:
        return await command.fn(*command.args, **command.kwargs)
    except SystemExit as error:
        return _Exited(error)


def _run_in_thread(body: Body) -> Any:
    current_body.set(body)
    command = body.command
    try:
        return command.fn(*command.args, **command.kwargs)
    except StopIteration as error:
        # As in a coroutine (PEP 479). A future refuses it, and would never be done.
        msg = "the body raised StopIteration"
        raise RuntimeError(msg) from error


async def _await_thread(body: Body, thread: ThreadFuture[Any]) -> Any:
    current_body.set(body)
    try:
        result = await asyncio.wrap_future(thread)
        # A sync callable may hand back a coroutine (a lambda around an async function): it belongs on the loop.
        return await result if inspect.isawaitable(result) else result
    except SystemExit as error:
        return _Exited(error)


def is_async(fn: Callable[..., Any]) -> bool:
    """Whether calling it makes a coroutine. Plain functions are told by a flag, which takes 0.1 us."""
    if type(fn) is types.FunctionType:
        return bool(fn.__code__.co_flags & inspect.CO_COROUTINE)
    while isinstance(fn, functools.partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004  # the method is what is asked for
