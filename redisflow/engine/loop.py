"""A deterministic event loop for workflow code: callbacks in the order in which they were asked for, and nothing else.

It has no clock, no selector and no threads. `drain` runs what is ready until nothing is, and then everything that the
workflow still waits for is known. The hard things: tasks must be hashed alike in every process (sets of tasks decide
the order of `asyncio.wait`), a loop that never rests must be stopped, and a parked run must leave memory without user
code noticing more than a cancellation.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any, NoReturn, TypeVar

from redisflow.errors import NotAllowedInWorkflow

T = TypeVar("T")

MAX_CALLBACKS = 2_000_000
"""In one drain; 10,000 parallel steps take some 50,000."""
MAX_CPU_SECONDS = 5.0
"""In one drain, of the thread's own time: a paused process has used none."""
_CHECK_EVERY = 4_096


class RunawayError(Exception):
    """A drain went past its bound: the workflow never waits."""


class _Callback:
    """What `call_soon` returns."""

    __slots__ = ("_args", "_callback", "_canceled", "_context")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context) -> None:
        self._callback = callback
        self._args = args
        self._context = context
        self._canceled = False

    def cancel(self) -> None:
        self._canceled = True

    def cancelled(self) -> bool:
        return self._canceled

    def run(self) -> None:
        if not self._canceled:
            self._context.run(self._callback, *self._args)


class WorkflowTask(asyncio.Task[T]):
    """A task that hashes by its number in its loop, so that sets of tasks iterate alike in every process."""

    __slots__ = ("_number",)

    def __init__(self, number: int, coro: Coroutine[Any, Any, T], **kwargs: Any) -> None:
        """Tasks are made by `WorkflowLoop.create_task` alone."""
        self._number = number
        super().__init__(coro, **kwargs)

    def __hash__(self) -> int:
        """Its number."""
        return self._number

    def __eq__(self, other: object) -> bool:
        """Identity."""
        return self is other


class WorkflowFuture(asyncio.Future[T]):
    """A future that hashes by its number in its loop."""

    __slots__ = ("_number",)

    def __init__(self, number: int, *, loop: asyncio.AbstractEventLoop) -> None:
        """Futures are made by `WorkflowLoop.create_future`, and by the engine for its calls."""
        self._number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        """Its number."""
        return self._number

    def __eq__(self, other: object) -> bool:
        """Identity."""
        return self is other


class WorkflowLoop(asyncio.AbstractEventLoop):
    """The loop of one run. `cpu_seconds` is the thread's CPU clock, for the bound on a drain."""

    def __init__(self, cpu_seconds: Callable[[], float], report: Callable[[dict[str, Any]], None]) -> None:
        """`report` gets what asyncio would print: exceptions that nobody took."""
        self._ready: deque[_Callback] = deque()
        self._cpu_seconds = cpu_seconds
        self._report = report
        self._numbers = 0
        self._tasks: list[WorkflowTask[Any]] = []
        self._tasks_alive = 64
        self._generators: dict[int, AsyncGenerator[Any, Any]] = {}
        self._draining = False
        self._closed = False

    # -- what asyncio needs ---------------------------------------------------------------------------------------

    def call_soon(  # type: ignore[override]  # a Handle's shape, without its debug fields
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> _Callback:
        """Run the callback in this drain, after all that was asked for before."""
        made = _Callback(callback, args, context if context is not None else copy_context())
        self._ready.append(made)
        return made

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return WorkflowFuture(self.next_number(), loop=self)

    def create_task(self, coro: Any, **kwargs: Any) -> Any:
        """A task of this loop, named alike on every pass."""
        number = self.next_number()
        if kwargs.get("name") is None:
            kwargs["name"] = f"task-{number}"
        kwargs.pop("eager_start", None)
        task: WorkflowTask[Any] = WorkflowTask(number, coro, loop=self, **kwargs)
        if len(self._tasks) > 2 * self._tasks_alive:
            self._tasks = [known for known in self._tasks if not known.done()]
            self._tasks_alive = max(64, len(self._tasks))
        self._tasks.append(task)
        return task

    def next_number(self) -> int:
        """The next number for a task or a future."""
        self._numbers += 1
        return self._numbers

    def get_task_factory(self) -> None:
        """There is none."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tell of an exception that nobody took, unless the run is being dropped."""
        if not self._closed:
            self._report(context)

    def get_debug(self) -> bool:
        """Never: asyncio's debug mode reads the clock."""
        return False

    def is_running(self) -> bool:
        """Only during a drain."""
        return self._draining

    def is_closed(self) -> bool:
        """Once the run was dropped."""
        return self._closed

    # -- what the engine calls ------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Run what is ready until nothing is. RunawayError past the bound."""
        ready = self._ready
        if not ready:
            return
        outer = asyncio._get_running_loop()  # noqa: SLF001  # the documented pair for loop implementers
        hooks = sys.get_asyncgen_hooks()
        asyncio._set_running_loop(None)  # noqa: SLF001  # see above
        asyncio._set_running_loop(self)  # noqa: SLF001  # see above
        sys.set_asyncgen_hooks(firstiter=self._generator_begins, finalizer=self._generator_dropped)
        self._draining = True
        try:
            self._run_ready()
        finally:
            self._draining = False
            sys.set_asyncgen_hooks(*hooks)
            asyncio._set_running_loop(outer)  # noqa: SLF001  # see above

    def _run_ready(self) -> None:
        ready = self._ready
        count = 0
        began = 0.0
        while ready:
            try:
                ready.popleft().run()
            except (SystemExit, KeyboardInterrupt):
                # The task keeps it as its exception as well: the run fails with it, the worker lives.
                continue
            count += 1
            if count % _CHECK_EVERY == 0:
                used = self._cpu_seconds()
                began = began or used
                if count >= MAX_CALLBACKS or used - began > MAX_CPU_SECONDS:
                    raise RunawayError(self._runaway(count))

    def _runaway(self, count: int) -> str:
        where = "; ".join(_where(task) for task in self._tasks if not task.done())[:500]
        return (
            f"the workflow's code ran {count} callbacks without waiting for a step. "
            f"Wait for a step, an event or a task instead of looping over sleep(0). Running: {where}"
        )

    def unfinished(self) -> list[WorkflowTask[Any]]:
        """Tasks that are not done, in the order in which they were made."""
        return [task for task in self._tasks if not task.done()]

    def waiting_at(self) -> str:
        """Where the unfinished tasks stand, for a message."""
        return "; ".join(_where(task) for task in self.unfinished())[:500]

    def evict(self) -> None:
        """Drop the run: cancel its tasks in creation order, let them clean up, ignore what they say.

        `close()` on coroutines would break ContextVars, anyio scopes and awaiting `finally` blocks.
        """
        self._closed = True
        try:
            for task in self.unfinished():
                task.cancel()
            self.drain()
            self._tasks = self.unfinished()
            for generator in list(self._generators.values()):
                self.create_task(generator.aclose())
            self.drain()
        except RunawayError:
            pass
        for task in self._tasks:
            # What still refuses to end is left to the garbage collector, silently.
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001  # asyncio's own switch
            if task.done() and not task.cancelled():
                task.exception()
        self._ready.clear()
        self._tasks.clear()
        self._generators.clear()

    def _generator_begins(self, generator: AsyncGenerator[Any, Any]) -> None:
        self._generators[id(generator)] = generator

    def _generator_dropped(self, generator: AsyncGenerator[Any, Any]) -> None:
        self._generators.pop(id(generator), None)

    # -- what workflow code may not do ----------------------------------------------------------------------------

    def call_later(self, delay: float, *_: Any, **__: Any) -> NoReturn:
        """Refused: time passes for a workflow only in a durable sleep."""
        self._refuse_timer(delay)

    def call_at(self, when: float, *_: Any, **__: Any) -> NoReturn:
        """Refused: see call_later."""
        self._refuse_timer(when)

    def time(self) -> float:
        """Nothing here may depend on the clock; asyncio's timeouts ask for it before they are refused."""
        return 0.0

    def _refuse_timer(self, _: float) -> NoReturn:
        msg = (
            f"asyncio.sleep, asyncio.timeout and wait_for do not survive a restart ({_caller()}). Use "
            "`await step.sleep(name, duration)`, or `timeout=` in StepOptions"
        )
        raise NotAllowedInWorkflow(msg)

    def call_soon_threadsafe(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        refuse("a thread")

    def run_in_executor(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        refuse("a thread (asyncio.to_thread, run_in_executor)")


def refuse(what: str) -> NoReturn:
    """Tell workflow code that only a step may do this, and on which line it tried."""
    msg = f"workflow code may not wait for {what} ({_caller()}): do it in a step, `await step.run(name, fn)`"
    raise NotAllowedInWorkflow(msg)


def _refused_method(name: str) -> Callable[..., NoReturn]:
    def method(*_: Any, **__: Any) -> NoReturn:
        refuse(f"`loop.{name}`")

    method.__name__ = name
    return method


for _name in (
    "create_connection",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "create_datagram_endpoint",
    "connect_accepted_socket",
    "sendfile",
    "start_tls",
    "getaddrinfo",
    "getnameinfo",
    "sock_accept",
    "sock_connect",
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_recvfrom_into",
    "sock_sendall",
    "sock_sendto",
    "sock_sendfile",
    "add_reader",
    "remove_reader",
    "add_writer",
    "remove_writer",
    "add_signal_handler",
    "remove_signal_handler",
    "subprocess_exec",
    "subprocess_shell",
    "connect_read_pipe",
    "connect_write_pipe",
    "run_until_complete",
    "run_forever",
    "stop",
    "close",
    "shutdown_default_executor",
    "shutdown_asyncgens",
    "set_default_executor",
    "set_task_factory",
    "set_debug",
):
    setattr(WorkflowLoop, _name, _refused_method(_name))


def _where(task: asyncio.Task[Any]) -> str:
    stack = task.get_stack(limit=1)
    if not stack:
        return task.get_name()
    frame = stack[-1]
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"


def _caller() -> str:
    """The line of user code that asked: the first frame below that is neither asyncio's, anyio's nor ours."""
    frame = sys._getframe(1)  # noqa: SLF001  # the cheap way to a frame; traceback would read source files
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if not module.startswith(("asyncio", "redisflow.engine", "redisflow.authoring", "anyio", "concurrent")):
            return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return "unknown line"
