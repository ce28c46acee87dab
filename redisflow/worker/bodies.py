"""Runs the bodies of steps: async ones on the worker's loop, sync ones in its threads, with timeouts and cancellation.

The hard thing is the end: a body may end by itself, by its timeout, or because nobody wants it any more, and a sync
one cannot be stopped at all. `ended` is called once, unless the body was cancelled; `gone` once, when it really is.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import time
import types
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future as ThreadFuture
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
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
    ended: Ended
    gone: Gone
    started_s: float = 0.0
    """Monotonic; 0 while it is queued."""
    details: Any = None
    """What it last said with `step.heartbeat`."""
    task: asyncio.Task[Any] | None = None
    thread: ThreadFuture[Any] | None = None
    timer: asyncio.TimerHandle | None = None
    cancelled: bool = False
    timed_out: bool = False

    def heartbeat(self, details: Any) -> None:
        """Called by the body itself, from any thread. CannotRecord where the details are not plain data."""
        codec.encode(details)
        self.details = details


@dataclass(slots=True)
class Bodies:
    """All bodies of a worker."""

    limit: int
    executor: ThreadPoolExecutor
    resources: Any = None
    running: set[Body] = field(default_factory=set)
    _queue: deque[Body] = field(default_factory=deque)

    def start(self, body: Body) -> None:
        """Start it, now or when there is room. Call it from the worker's loop."""
        if len(self.running) >= self.limit:
            self._queue.append(body)
        else:
            self._start(body)

    def cancel(self, body: Body) -> None:
        """Nobody wants it any more: `ended` will not be called."""
        if body.cancelled:
            return
        body.cancelled = True
        if body.task is not None:
            body.task.cancel()
        elif body in self._queue:
            self._queue.remove(body)
            body.gone(body)

    def _start(self, body: Body) -> None:
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
        coroutine: Coroutine[Any, Any, Any]
        if is_async(command.fn):
            coroutine = command.fn(*command.args, **command.kwargs)
        else:
            # The thread has a context of its own: one cannot be entered twice, and the task waits in this one.
            work = functools.partial(context.copy().run, command.fn, *command.args, **command.kwargs)
            body.thread = self.executor.submit(work)
            coroutine = _await_thread(body.thread)
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
            thread.add_done_callback(lambda _: task.get_loop().call_soon_threadsafe(self._leave, body))
        else:
            self._leave(body)
        outcome = _outcome(body, task)
        if not body.cancelled:
            body.ended(body, outcome)

    def _leave(self, body: Body) -> None:
        self.running.discard(body)
        body.gone(body)
        while self._queue and len(self.running) < self.limit:
            self._start(self._queue.popleft())


def _outcome(body: Body, task: asyncio.Task[Any]) -> BodyOutcome:
    if body.timed_out:
        limit = describe_ms(body.command.timeout_ms or 0)
        return Raised(TimeoutError(f"the attempt took longer than its timeout of {limit}"), timed_out=True)
    if task.cancelled():
        return Raised(asyncio.CancelledError("the body cancelled itself"))
    error = task.exception()
    return Returned(task.result()) if error is None else Raised(error)


async def _await_thread(thread: ThreadFuture[Any]) -> Any:
    result = await asyncio.wrap_future(thread)
    # A sync callable may hand back a coroutine (a lambda around an async function): it belongs on the loop.
    return await result if inspect.isawaitable(result) else result


def is_async(fn: Callable[..., Any]) -> bool:
    """Whether calling it makes a coroutine. Plain functions are told by a flag, which takes 0.1 us."""
    if type(fn) is types.FunctionType:
        return bool(fn.__code__.co_flags & inspect.CO_COROUTINE)
    while isinstance(fn, functools.partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004  # the method is what is asked for
