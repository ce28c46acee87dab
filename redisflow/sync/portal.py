"""`Portal`: an event loop in a background thread, started by the first call, for all threads of a process.

The hard thing is the end of things: a fork leaves the child without that thread, an interpreter that ends must not wait
for a caller that waits for days, and an interrupted caller must not leave its call behind.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import functools
import os
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Generic, ParamSpec, TypeVar

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from redisflow.errors import BackendUnavailable, CalledInEventLoop, RedisflowError

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

CLOSE_S = 5.0
"""For the connections to close, when an interpreter ends while its server is away."""


class _Call(Generic[R]):
    """One call, between the thread that waits for it and the loop that runs it."""

    def __init__(self, fn: Callable[[], Awaitable[R]]) -> None:
        self._fn = fn
        self._future: concurrent.futures.Future[R] = concurrent.futures.Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        loop.call_soon_threadsafe(self._begin)

    def result(self, timeout_s: float | None = None) -> R:
        try:
            return self._future.result(timeout_s)
        except concurrent.futures.CancelledError:
            msg = "flow.sync was closed while this call waited: what it asked for may or may not have been done"
            raise BackendUnavailable(msg) from None

    def cancel(self) -> None:
        self._future.cancel()
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it is closed
                self._loop.call_soon_threadsafe(self._cancel)

    def _begin(self) -> None:
        if not self._future.cancelled():
            self._task = asyncio.get_running_loop().create_task(self._run())

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            value = await self._fn()
        except asyncio.CancelledError:
            self._future.cancel()
            self._future.set_running_or_notify_cancel()
            raise
        except BaseException as error:  # noqa: BLE001  # SystemExit as well: it is the caller's, not the loop's
            if self._future.set_running_or_notify_cancel():
                self._future.set_exception(error)
        else:
            if self._future.set_running_or_notify_cancel():
                self._future.set_result(value)


@dataclass(slots=True)
class _Running:
    portal: BlockingPortal
    life: AbstractContextManager[BlockingPortal]
    loop: asyncio.AbstractEventLoop
    calls: set[_Call[Any]] = field(default_factory=set[_Call[Any]])


class Portal:
    """One background event loop. Safe to use from many threads, to close and use again, and after a fork."""

    def __init__(self, on_close: Callable[[], Awaitable[None]]) -> None:
        """Start nothing yet; `on_close` closes what belongs to the loop, inside it."""
        self._on_close = on_close
        self._lock = threading.RLock()  # a signal handler may call while its thread starts a call
        self._running: _Running | None = None
        _portals.add(self)

    def call(self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Await it there and return its result. Interrupted here (Ctrl-C), it is cancelled there.

        CalledInEventLoop where this thread runs a loop itself; BackendUnavailable where the portal is closed meanwhile.
        """
        refuse_in_event_loop()
        call = _Call(functools.partial(fn, *args, **kwargs))
        with self._under_way(call):
            return call.result()

    def iterate(self, make: Callable[[], Awaitable[AsyncIterable[T]]]) -> Generator[T]:
        """What it yields, one after another. Left early, or closed, it is closed there."""
        refuse_in_event_loop()
        return self._iterate(make)

    def _iterate(self, make: Callable[[], Awaitable[AsyncIterable[T]]]) -> Generator[T]:
        sender, receiver = anyio.create_memory_object_stream[T](0)

        async def pump() -> None:
            # One task from its first item to its end: what it holds open (a subscription, a timeout) belongs to a task.
            with sender, receiver:
                items = await make()
                try:
                    async for item in items:
                        await sender.send(item)
                finally:
                    if isinstance(items, AsyncGenerator):
                        await items.aclose()

        owner = os.getpid()
        pumping = _Call(pump)
        with self._under_way(pumping):
            while True:
                if os.getpid() != owner:
                    msg = "this iterator belongs to the process from which this one was forked: make another one here"
                    raise BackendUnavailable(msg)
                try:
                    item = self.call(receiver.receive)
                except (anyio.EndOfStream, anyio.ClosedResourceError):
                    break
                yield item
            pumping.result()  # what ended it

    @contextlib.contextmanager
    def enter(self, make: Callable[[], AbstractAsyncContextManager[T]]) -> Generator[T]:
        """Be inside an async context that lives there; it is made there as well."""
        refuse_in_event_loop()

        @contextlib.asynccontextmanager
        async def inside() -> AsyncGenerator[T]:
            async with make() as value:
                yield value

        with self._lock:
            context = self._get().portal.wrap_async_context_manager(inside())
        owner = os.getpid()
        with contextlib.ExitStack() as stack:
            value = stack.enter_context(context)
            try:
                yield value
            finally:
                if os.getpid() != owner:  # a child that was forked inside; to leave it is the parent's
                    _inherited.append(stack.pop_all())

    def close(self) -> None:
        """End the loop: calls under way raise BackendUnavailable. A later call starts another one. Safe to repeat."""
        refuse_in_event_loop()
        with self._lock:
            running, self._running = self._running, None
            atexit.unregister(self.close)
        if running is None:
            return
        for call in tuple(running.calls):
            call.cancel()
        closing = _Call(self._on_close)
        closing.begin(running.loop)
        with contextlib.suppress(TimeoutError, RedisflowError):
            closing.result(CLOSE_S)
        running.portal.start_task_soon(running.portal.stop, True)  # noqa: FBT003  # cancel_remaining, by position only
        running.life.__exit__(None, None, None)

    @contextlib.contextmanager
    def _under_way(self, call: _Call[Any]) -> Generator[None]:
        """Begin it; left early, by Ctrl-C too, it is cancelled."""
        calls: set[_Call[Any]] | None = None
        try:
            # Under the lock: a loop that another thread is closing would take the call and never run it.
            with self._lock:
                running = self._get()
                calls = running.calls
                calls.add(call)
                call.begin(running.loop)
            yield
        except BaseException:
            call.cancel()
            raise
        finally:
            if calls is not None:
                calls.discard(call)

    def _get(self) -> _Running:
        if self._running is None:
            life = start_blocking_portal(name="redisflow-sync")
            portal = life.__enter__()
            self._running = _Running(portal, life, portal.call(asyncio.get_running_loop))
            # Its thread is a daemon, so that an interpreter that ends comes to this.
            atexit.register(self.close)
        return self._running

    def forget(self) -> None:
        """In a forked child: the thread stayed with the parent, so begin anew at the next call."""
        if self._running is not None:
            # Kept for ever: its loop shares a selector with the parent's, and closed here would make that one deaf.
            _inherited.append(self._running)
        self._running = None
        self._lock = threading.RLock()  # somebody may have held it


_portals: weakref.WeakSet[Portal] = weakref.WeakSet()
_inherited: list[object] = []


def _forget_all() -> None:
    for portal in list(_portals):
        portal.forget()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_all)


def refuse_in_event_loop() -> None:
    """CalledInEventLoop where this thread runs an event loop: to wait here would stop it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    msg = (
        "flow.sync would block the event loop of this thread: await the same method of the flow, the workflow or the "
        "handle instead, e.g. `await workflow.run(value)`, `await handle.result()`; code that cannot await belongs "
        "into a thread: `await asyncio.to_thread(function)`"
    )
    raise CalledInEventLoop(msg)
