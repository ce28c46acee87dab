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
from typing import Any

from redisflow import codec
from redisflow.authoring.body import BodyContext, current_body
from redisflow.durations import describe_ms
from redisflow.engine.commands import BodyOutcome, Raised, Returned, RunBody

Ended = Callable[["Body", BodyOutcome], None]
Gone = Callable[["Body"], None]


@dataclass(slots=True, eq=False)
class Body:
    """One attempt of a step, running or queued."""

    command: RunBody
    run_id: str
    may_start: Callable[[], bool]
    """Asked when its turn comes. Where not, it was cancelled meanwhile."""
    ended: Ended
    gone: Gone
    started_s: float = 0.0
    """Monotonic; 0 while it is queued."""
    details: Any = None
    """What it last said with `step.heartbeat`."""
    task: asyncio.Task[Any] | None = None
    thread: ThreadFuture[Any] | None = None
    timer: asyncio.TimerHandle | None = None
    number: int = 0
    """Its place among all bodies that were asked for."""
    in_thread: bool = False
    cancelled: bool = False
    timed_out: bool = False

    def heartbeat(self, details: Any) -> None:
        """Called by the body itself, from any thread. CannotRecord where the details are not plain data."""
        # A copy: what the body does to its own object later must not be seen while it is being written.
        self.details = codec.decode(codec.encode(details))


@dataclass(slots=True)
class Bodies:
    """All bodies of a worker: at most `limit` at a time, of which at most `threads` are sync; the rest queue."""

    limit: int
    threads: int
    executor: ThreadPoolExecutor
    resources: Any = None
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
            body.gone(body)

    async def wait_for_tasks(self, timeout_s: float) -> None:
        """Give cancelled async bodies time to clean up. Threads are not waited for: they may never end."""
        tasks = [body.task for body in self.running if body.task is not None and not body.task.done()]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)

    def _start(self, body: Body) -> None:
        if not body.may_start():
            return
        loop = asyncio.get_running_loop()
        command = body.command
        self.running.add(body)
        body.started_s = time.monotonic()
        context = copy_context()
        context.run(
            current_body.set,
            BodyContext(
                body.run_id, command.key, command.attempt, command.idempotency_key, body.heartbeat, self.resources
            ),
        )
        if body.in_thread:
            self._in_threads += 1
            # The thread has a context of its own: one cannot be entered twice, and the task waits in this one.
            body.thread = self.executor.submit(_run_in_thread, context.copy(), command)
            coroutine = _await_thread(body.thread)
        else:
            coroutine = _run_on_loop(command)
        body.task = loop.create_task(coroutine, context=context)
        body.task.add_done_callback(functools.partial(self._done, body))
        if command.timeout_ms is not None:
            body.timer = loop.call_later(command.timeout_ms / 1000, self._time_out, body)

    def _time_out(self, body: Body) -> None:
        if body.task is not None and not body.task.done():
            body.timed_out = True
            body.task.cancel()

    def _done(self, body: Body, task: asyncio.Task[Any]) -> None:
        if body.timer is not None:
            body.timer.cancel()
        thread = body.thread
        if thread is not None and not thread.done() and not thread.cancel():
            # It cannot be stopped. Its run is told now, but is not parked, nor the step tried again, until it ends.
            thread.add_done_callback(lambda _: self._leave_from_thread(body, task.get_loop()))
        else:
            self._leave(body)
        outcome = _outcome(body, task)
        if not body.cancelled:
            body.ended(body, outcome)

    def _leave_from_thread(self, body: Body, loop: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the worker went without this thread
            loop.call_soon_threadsafe(self._leave, body)

    def _leave(self, body: Body) -> None:
        self.running.discard(body)
        if body.in_thread:
            self._in_threads -= 1
        body.gone(body)
        while (following := self._next()) is not None:
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


async def _run_on_loop(command: RunBody) -> Any:
    # Called in here, so that arguments that do not fit are the step's failure, too.
    try:
        return await command.fn(*command.args, **command.kwargs)
    except SystemExit as error:
        return _Exited(error)


def _run_in_thread(context: Context, command: RunBody) -> Any:
    try:
        return context.run(command.fn, *command.args, **command.kwargs)
    except StopIteration as error:
        # As in a coroutine (PEP 479). A future refuses it, and would never be done.
        msg = "the body raised StopIteration"
        raise RuntimeError(msg) from error


async def _await_thread(thread: ThreadFuture[Any]) -> Any:
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
