"""The event loop of a simulation: one thread, virtual time, and several "processes" in it.

Nothing waits for real time: when no callback is ready, the clock moves to the next timer. A process is whatever runs
in a context that names it; its callbacks are held up while it is stopped, and are never run once it has been killed.
Within a process they run in their order, as on any loop; between processes only messages pass, and those are timers of
the network.
"""

from __future__ import annotations

import asyncio
import contextvars
import enum
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

START_S = 1_000.0
"""What the monotonic clock shows when a simulation begins."""

CALLBACK_S = 1e-7
"""Time passes while a loop turns: whoever looks again and again until it is later gets there."""

CALLBACKS_AT_MOST = 500_000


class State(enum.Enum):
    RUNS = "runs"
    STOPPED = "stopped"
    DEAD = "dead"


class Process:
    """What would be a process: a worker or a client, with everything that belongs to it."""

    def __init__(self, loop: SimulatedLoop, name: str) -> None:
        self.name = name
        self.state = State.RUNS
        self.context = contextvars.copy_context()
        self.context.run(_process.set, self)
        self.connections: list[Any] = []
        self._loop = loop
        self._held_up: list[asyncio.Handle] = []
        self.graveyard: list[Any] = []
        """What it held when it was killed: nothing of it is to clean up after itself."""

    def __repr__(self) -> str:
        return f"{self.name} ({self.state.value})"

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        return self._loop.create_task(work, name=name, context=self.context.copy())

    def stop(self) -> None:
        """SIGSTOP."""
        if self.state is State.RUNS:
            self.state = State.STOPPED

    def go_on(self) -> None:
        """SIGCONT."""
        if self.state is State.STOPPED:
            self.state = State.RUNS
            held_up, self._held_up = self._held_up, []
            self._loop.take_back(held_up)

    def kill(self) -> None:
        """SIGKILL."""
        self.state = State.DEAD
        self.graveyard += self._held_up

    def hold_up(self, handle: asyncio.Handle) -> None:
        (self.graveyard if self.state is State.DEAD else self._held_up).append(handle)


_process: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


def current_process() -> Process:
    found = _process.get()
    assert found is not None, "this belongs to a process of the simulation"
    return found


class SimulatedLoop(asyncio.BaseEventLoop):
    """See the module. What `_run_once` does is asyncio's own division of labour: subclasses override what waits."""

    # What the superclass keeps, and its stub does not know.
    _ready: deque[Any]
    _scheduled: list[Any]
    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self._now_s = START_S
        self.network: Any = None
        self.thread_process: Process | None = None
        """Whose simulated thread runs right now."""
        self.on_error: Callable[[dict[str, Any]], None] = lambda _: None
        self.set_exception_handler(lambda _, about: self.on_error(about))
        self.callbacks = 0

    def time(self) -> float:
        return self._now_s

    def take_back(self, handles: list[asyncio.Handle]) -> None:
        self._ready.extend(handles)

    def _run_once(self) -> None:
        ready = self._ready
        if not ready:
            self._move_on()
        while ready and not self._stopping:
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(_process)
            if process is not None and process.state is not State.RUNS:
                process.hold_up(handle)
                continue
            self.callbacks += 1
            if self.callbacks > CALLBACKS_AT_MOST:
                raise RuntimeError(f"more than {CALLBACKS_AT_MOST} callbacks: something turns without end, in {handle}")
            self._now_s += CALLBACK_S
            handle._run()

    def _move_on(self) -> None:
        """Nothing is ready: the time moves to the next timer, and all that are due then are ready."""
        timers = self._scheduled
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
        if not timers:
            raise RuntimeError("the simulation stands still: no timer, no message, nothing ready")
        self._now_s = max(self._now_s, timers[0]._when)
        while timers and timers[0]._when <= self._now_s:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            if not timer._cancelled:
                self._ready.append(timer)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its time comes."""

    def _write_to_self(self) -> None:
        """Nothing sleeps that would have to be woken."""

    def _process_events(self, event_list: Any) -> None:
        msg = "nothing is waited for but virtual time"
        raise AssertionError(msg)

    def call_soon_threadsafe(  # type: ignore[override]  # the stub has type variables for its arguments
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        if context is None and self.thread_process is not None:
            context = self.thread_process.context
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]  # the same
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """At once in this thread, as soon as the loop comes to it."""
        future = self.create_future()

        def run() -> None:
            try:
                result = func(*args)
            except Exception as error:
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)

        self.call_soon(run)
        return future

    async def create_connection(self, protocol_factory: Callable[[], Any], *_: Any, **__: Any) -> Any:
        return await self.network.connect(protocol_factory)

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  # asyncio names it
        """There is none."""
