"""A deterministic event loop for workflow code: callbacks in the order in which they were asked for, and nothing else.

It has no clock, no selector and no threads. `run` makes something happen and then runs what is ready until nothing is:
then everything that the workflow still waits for is known. The hard things: tasks must hash alike in every process
(sets of tasks decide the order of `asyncio.wait`), a loop that never rests must be stopped, and a parked run must leave
memory without user code noticing more than a cancellation.
"""

# pyright: reportPrivateUsage=false
# Loops are told to asyncio by functions that it keeps to itself and documents for loop implementers.

from __future__ import annotations

import asyncio
import inspect
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextvars import Context, copy_context
from typing import Any, TypeVar

from redisflow.authoring.body import current_run
from redisflow.engine.refusals import (
    RefusingLoop,
    refuse_as_completed,
    refuse_touch,
    refuse_unordered_wait,
    waiting_line,
)
from redisflow.engine.unbegun import Unbegun

T = TypeVar("T")

MAX_CALLBACKS = 2_000_000
"""In one go; 10,000 parallel steps take some 50,000."""
MAX_CPU_SECONDS = 5.0
"""In one go, of the thread's own time: a paused process has used none."""
_CHECK_EVERY = 64
_PRUNE_FROM = 64
_EVICTION_ROUNDS = 8
_EVICTION_SHARE = 0.05
"""Of the bounds, for each round of a clean-up."""
_SHOWN = 500


class RunawayError(Exception):
    """The workflow's code never waits: it went past a bound."""


class _Callback(list[Any]):
    """What `call_soon` returns: [function, arguments, context], emptied when it is cancelled.

    A list is made in half the time of an object of our own, and there are two to each step.
    """

    __slots__ = ()

    def cancel(self) -> None:
        self.clear()

    def cancelled(self) -> bool:
        return not self


class WorkflowTask(asyncio.Task[T]):
    """A task that hashes by its number in its run, so that sets of tasks iterate alike in every process."""

    __slots__ = ("_number",)

    def __init__(
        self,
        number: int,
        coro: Coroutine[Any, Any, T],
        loop: asyncio.AbstractEventLoop,
        name: str | None,
        context: Context | None,
    ) -> None:
        """Tasks are made by the loop alone."""
        self._number = number
        super().__init__(coro, loop=loop, name=name, context=context)

    def __hash__(self) -> int:
        """Its number."""
        return self._number


class WorkflowFuture(asyncio.Future[T]):
    """A future that hashes by its number in its run."""

    __slots__ = ("_number",)

    def __init__(self, number: int, *, loop: asyncio.AbstractEventLoop) -> None:
        """Futures are made by `WorkflowLoop.create_future`."""
        self._number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        """Its number."""
        return self._number


class WorkflowLoop(RefusingLoop):
    """The loop of one run."""

    def __init__(
        self, cpu_seconds: Callable[[], float], report: Callable[[dict[str, Any]], None], salt: int = 0
    ) -> None:
        """`cpu_seconds` is the thread's CPU clock, for the bound; `report` gets what asyncio would print.

        `salt` is the same on every pass of a run, and differs between runs: numbers count from it. All tasks of a
        process are in one set of asyncio's, where the first tasks of all runs would else collide.
        """
        self._ready: deque[_Callback] = deque()
        self._cpu_seconds = cpu_seconds
        self._report = report
        self._salt = salt
        self._numbers = 0
        self._tasks: list[WorkflowTask[Any]] = []
        self._prune_tasks_at = _PRUNE_FROM
        # Held, so that no garbage collection decides when an abandoned one cleans up.
        self._generators: list[AsyncGenerator[Any, Any]] = []
        self._prune_generators_at = _PRUNE_FROM
        self._is_running = False
        self._is_closed = False

    # -- what asyncio needs ---------------------------------------------------------------------------------------

    def call_soon(  # type: ignore[override]  # a Handle's shape, without its debug fields
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> _Callback:
        """Run the callback after all that was asked for before."""
        made = _Callback((callback, args, copy_context() if context is None else context))
        if self._is_running:
            self._ready.append(made)
        elif not self._is_closed:
            refuse_touch()
        return made

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        refuse_unordered_wait(sys._getframe(1), (WorkflowTask, WorkflowFuture))  # noqa: SLF001  # the cheap way
        self._numbers += 1
        return WorkflowFuture(self._salt + self._numbers, loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None, eager_start: bool | None = None
    ) -> Any:
        """A task of this loop, named alike on every pass; never an eager one."""
        del eager_start
        refuse_as_completed(coro)
        return self._make_task(coro, f"task-{self._numbers + 1}" if name is None else name, context)

    def _make_task(self, coro: Any, name: str | None = None, context: Context | None = None) -> WorkflowTask[Any]:
        self._numbers += 1
        task: WorkflowTask[Any] = WorkflowTask(self._salt + self._numbers, coro, self, name, context)
        tasks = self._tasks
        tasks.append(task)
        if len(tasks) > self._prune_tasks_at:
            tasks[:] = self.unfinished()
            self._prune_tasks_at = max(_PRUNE_FROM, 2 * len(tasks))
        return task

    def get_task_factory(self) -> None:
        """There is none."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tell of an exception that nobody took, unless the run is being dropped."""
        if not self._is_closed:
            self._report(context)

    def get_debug(self) -> bool:
        """Never: asyncio's debug mode reads the clock."""
        return False

    def is_running(self) -> bool:
        """Only while workflow code runs."""
        return self._is_running

    def is_closed(self) -> bool:
        """Once the run was dropped."""
        return self._is_closed

    # -- what the engine calls ------------------------------------------------------------------------------------

    def begin(self, coro: Coroutine[Any, Any, T], about: Mapping[str, str] | None = None) -> asyncio.Task[T]:
        """The main task, in a context of its own: what the worker's code has set in its own is no business of it.

        `about` is whose code it is, for the log.
        """
        context = Context()
        context.run(current_run.set, about)
        return self._make_task(coro, "workflow", context)

    def run(self, first: Callable[..., object], *args: Any, share: float = 1.0) -> None:
        """Do this first, then run what is ready until nothing is. RunawayError past a `share` of the bounds."""
        outer = asyncio._get_running_loop()  # noqa: SLF001  # the documented pair for those who write loops
        hooks = sys.get_asyncgen_hooks()
        asyncio._set_running_loop(self)  # noqa: SLF001  # see above
        sys.set_asyncgen_hooks(self._generator_begins, self._generator_dropped)
        self._is_running = True
        try:
            first(*args)
            if self._ready:
                self._run_ready(share)
        finally:
            self._is_running = False
            sys.set_asyncgen_hooks(*hooks)
            asyncio._set_running_loop(outer)  # noqa: SLF001  # see above

    def _run_ready(self, share: float) -> None:
        ready = self._ready
        count = 0
        began_s = 0.0
        while ready:
            callback = ready.popleft()
            if not callback:
                continue
            function, args, context = callback
            try:
                context.run(function, *args)
            except (SystemExit, KeyboardInterrupt):
                # The task keeps it as its exception as well: the run fails with it, the worker lives.
                pass
            except BaseException as error:  # noqa: BLE001  # of a bare callback: it has nobody else to tell
                self.call_exception_handler(
                    {"message": f"the callback {_name_of(function)} failed", "exception": error}
                )
            count += 1
            if count % _CHECK_EVERY == 0:
                used_s = self._cpu_seconds()
                began_s = began_s or used_s
                if count >= MAX_CALLBACKS * share or used_s - began_s > MAX_CPU_SECONDS * share:
                    raise RunawayError(self._runaway(count))

    def _runaway(self, count: int) -> str:
        return (
            f"the workflow's code ran {count} callbacks without waiting for a step. Wait for a step, an event or a "
            f"task instead of looping over sleep(0). Running: {self.waiting_at()}"
        )

    def unfinished(self) -> list[WorkflowTask[Any]]:
        """Tasks that are not done, in the order in which they were made."""
        return [task for task in self._tasks if not task.done()]

    def waiting_at(self) -> str:
        """Where the unfinished tasks stand, for a message."""
        return "; ".join(f"{task.get_name()} at {waiting_line(task)}" for task in self.unfinished())[:_SHOWN]

    def report_forgotten(self) -> None:
        """Tell of tasks whose failure nobody took, as asyncio does when they are collected."""
        # The first is the main task, whose failure is the run's. What failed is told without what it said: that is the
        # user's data.
        for task in self._tasks[1:]:
            if task.done() and task._log_traceback:  # noqa: SLF001  # asyncio's own mark
                kind = type(task.exception()).__name__
                self._report({"message": f"the failure of {task.get_name()} ({kind}) was never taken"})

    def evict(self) -> None:
        """Drop the run: cancel its tasks in creation order, let them clean up, ignore what they say.

        `close()` on coroutines would break ContextVars, anyio scopes and awaiting `finally` blocks.
        """
        self._is_closed = True
        unfinished = self.unfinished()
        if unfinished or self._generators:
            self._clean_up(Unbegun(unfinished))
        # Tasks know their loop, and the engine listens to it: without these it all leaves memory at once.
        self._tasks.clear()
        self._report = _ignore

    def _clean_up(self, unbegun: Unbegun) -> None:
        try:
            for _ in range(_EVICTION_ROUNDS):
                if tasks := self.unfinished():
                    self.run(_cancel_all, tasks, share=_EVICTION_SHARE)
                elif self._generators:
                    self.run(self._close_generators, share=_EVICTION_SHARE)
                else:
                    break
        except RunawayError:
            pass
        self._ready.clear()
        self._generators.clear()
        for task in self.unfinished():
            coro = task.get_coro()
            if inspect.iscoroutine(coro) and inspect.getcoroutinestate(coro) == inspect.CORO_CREATED:
                coro.close()
            else:
                # Nothing can end it: it is left to the garbage collector.
                self._report({"message": f"{waiting_line(task)} catches its cancellation: catch Exception instead"})
        unbegun.close()

    def _close_generators(self) -> None:
        generators, self._generators = self._generators, []
        for generator in generators:
            if _is_open(generator):
                self._make_task(generator.aclose())

    def _generator_begins(self, generator: AsyncGenerator[Any, Any]) -> None:
        generators = self._generators
        generators.append(generator)
        if len(generators) > self._prune_generators_at:
            generators[:] = [known for known in generators if _is_open(known)]
            self._prune_generators_at = max(_PRUNE_FROM, 2 * len(generators))

    def _generator_dropped(self, _: AsyncGenerator[Any, Any]) -> None:
        """After the run was dropped; what it did not do by then is not done."""


def _cancel_all(tasks: list[WorkflowTask[Any]]) -> None:
    for task in tasks:
        task.cancel()


def _name_of(function: Callable[..., object]) -> str:
    """Without its arguments, which the text of a partial shows."""
    return getattr(function, "__qualname__", type(function).__qualname__)


def _ignore(_: dict[str, Any]) -> None:
    """Nobody listens any more."""


def _is_open(generator: AsyncGenerator[Any, Any]) -> bool:
    """Whether it has not ended: types know the interface only, which has no frame."""
    return getattr(generator, "ag_frame", None) is not None
