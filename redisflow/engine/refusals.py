"""What workflow code may not do, and the words in which it is told: each error names the line and what to use instead.

A workflow may wait for steps alone. Whatever asks the loop for time, threads, sockets or processes is refused where it
asks, in the caller's own stack, so that the traceback points at the line too.
"""

# pyright: reportPrivateUsage=false
# sys._getframe is the cheap way to a frame; traceback and inspect would read source files.

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextvars import Context
from types import CodeType, CoroutineType, FrameType
from typing import Any, NoReturn, TypeVar, cast

from redisflow.authoring.step_call import StepCall
from redisflow.errors import NotAllowedInWorkflow

T = TypeVar("T")

# Packages whose frames stand between workflow code and this one.
_CARRIERS = frozenset({"asyncio", "anyio", "concurrent", "contextlib", "redisflow"})


class RefusingLoop(asyncio.AbstractEventLoop):
    """Everything that a deterministic loop does not have."""

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Refused: time passes for a workflow only in a durable sleep."""
        _refuse_timer()

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Refused: see call_later."""
        _refuse_timer()

    def time(self) -> float:
        """Nothing may depend on a clock; asyncio's timeouts read it before they are refused."""
        return 0.0

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Refused."""
        refuse("a thread (asyncio.to_thread, run_in_executor)")

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Refused."""
        refuse("a thread")


def refuse(what: str) -> NoReturn:
    """Tell workflow code that only a step may wait for this, and on which line it tried."""
    msg = f"workflow code may not wait for {what} ({calling_line()}): do it in a step, `await step.run(name, fn)`"
    raise NotAllowedInWorkflow(msg)


def _refuse_timer() -> NoReturn:
    msg = (
        f"asyncio.sleep, asyncio.timeout and wait_for do not survive a restart ({calling_line()}). Use "
        "`await step.sleep(name, duration)`, or `timeout=` in StepOptions"
    )
    raise NotAllowedInWorkflow(msg)


def refuse_as_completed(coro: Coroutine[Any, Any, Any]) -> None:
    """Refuse a coroutine that asyncio.as_completed wants to be a task: a set of them has no order.

    Steps have one (they hash by their place among the calls), and tasks too.
    """
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001  # the cheap way to a frame
    while frame is not None and frame.f_globals.get("__name__") == "asyncio.tasks":
        if frame.f_code in _AS_COMPLETED and not isinstance(coro, StepCall):
            for one in _given_to_as_completed(frame):
                one.close()
            msg = (
                f"asyncio.as_completed over coroutines begins them in another order on each pass ({calling_line()}). "
                "Use `async for task in step.as_completed(calls)`"
            )
            raise NotAllowedInWorkflow(msg)
        frame = frame.f_back


def _given_to_as_completed(frame: FrameType) -> list[CoroutineType[Any, Any, Any]]:
    # Before 3.12 its comprehension has a frame of its own; what it iterates is a copy of what it was given.
    outer = frame.f_back if frame.f_code.co_name == "<setcomp>" else frame
    given = (outer or frame).f_locals
    return [one for one in given.get("fs", given.get("aws", ())) if isinstance(one, CoroutineType)]


def refuse_unordered_wait(frame: FrameType, kinds: tuple[type, ...]) -> None:
    """Refuse asyncio.wait for what hashes by its address, such as asyncio.gather's future: its sets have no order."""
    if frame.f_code is _WAIT and not all(isinstance(one, kinds) for one in frame.f_locals["fs"]):
        msg = (
            f"asyncio.wait would return these in another order on each pass ({calling_line()}). "
            "Wait for tasks: wrap asyncio.gather(...) in an async function, and that in asyncio.create_task(...)"
        )
        raise NotAllowedInWorkflow(msg)


def refuse_touch() -> NoReturn:
    """Refuse that a future or a task of a workflow is used while the workflow's code does not run."""
    msg = (
        f"a future, task or event of a workflow was used outside its code ({calling_line()}): on replay nobody would "
        "do so. A step's body speaks to its workflow by its return value alone"
    )
    raise NotAllowedInWorkflow(msg)


def calling_line() -> str:
    """The line of user code that asked: the first frame above that is neither asyncio's, anyio's nor ours."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # the cheap way to a frame
    while frame is not None:
        if not _is_carrier(frame):
            return _line(frame)
        frame = frame.f_back
    return "unknown line"


def waiting_line(task: asyncio.Task[Any]) -> str:
    """Where a task stands: the innermost line of user code that it waits in."""
    found = task.get_name()
    waiter: Any = task.get_coro()
    while isinstance(waiter, CoroutineType):
        inner = cast("Any", waiter)
        frame = inner.cr_frame
        if frame is not None and not _is_carrier(frame):
            found = _line(frame)
        waiter = inner.cr_await
    return found


def _is_carrier(frame: FrameType) -> bool:
    module: str = frame.f_globals.get("__name__", "")
    return module.partition(".")[0] in _CARRIERS


def _line(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"


def _codes_of_as_completed() -> frozenset[CodeType]:
    # A generator function in 3.11 and 3.12; in 3.13 an iterator whose __init__ makes the tasks.
    made_by = getattr(asyncio.tasks, "_AsCompletedIterator", None)
    codes = {asyncio.as_completed.__code__} if made_by is None else {made_by.__init__.__code__}
    # Before 3.12 a comprehension is a function of its own.
    return frozenset(codes | {const for code in codes for const in code.co_consts if isinstance(const, CodeType)})


_AS_COMPLETED = _codes_of_as_completed()
_WAIT: CodeType = cast("Any", asyncio.tasks)._wait.__code__  # noqa: SLF001  # what asyncio.wait waits in


def _refused_method(name: str) -> Callable[..., NoReturn]:
    def method(*_: Any, **__: Any) -> NoReturn:
        refuse(f"`loop.{name}`")

    method.__name__ = name
    return method


_REFUSED = (
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
    "set_exception_handler",
    "get_exception_handler",
    "default_exception_handler",
    "set_debug",
)
for _name in _REFUSED:
    setattr(RefusingLoop, _name, _refused_method(_name))
