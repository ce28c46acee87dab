"""Threads of a simulation: real threads of which one runs at a time, and only when the loop says so.

The heartbeat lives in a thread, with a socket that blocks. Here its thread runs until it would block, gives the turn
back to the loop, and goes on when what it waits for has happened in virtual time. `Threading` and `Sockets` stand where
the modules `threading` and `socket` stand for the two files that use them.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from tests.faults.simulation.loop import Process, SimulatedLoop, State, current_process


class Turn:
    """Passes the turn between the loop and the threads of one simulation."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.loop = loop
        self.threads: list[SimulatedThread] = []
        self.running: SimulatedThread | None = None

    def end_all(self) -> None:
        """At the end of a simulation: every thread that still waits ends."""
        for thread in self.threads:
            thread.end()


class SimulatedThread:
    """`threading.Thread` for the heartbeat."""

    def __init__(self, turn: Turn, target: Callable[[], None]) -> None:
        self._turn = turn
        self.process: Process = current_process()
        self._mine = threading.Semaphore(0)
        self._loops = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, args=[target], daemon=True)
        self._timer: asyncio.TimerHandle | None = None
        self._woken = False
        self._is_to_run = False
        self._is_to_end = False
        self.ended = False
        turn.threads.append(self)

    def start(self) -> None:
        self._thread.start()
        self._schedule()

    def join(self, timeout: float | None = None) -> None:
        """Called in the loop's thread: whatever it can do now, it does now; for what blocks nobody waits."""
        del timeout
        if self._is_to_run:
            self._resume()

    def block(self, timeout_s: float | None) -> bool:
        """In the thread: wait until `wake`, or until the time is over; whether it was woken."""
        self._woken = False
        if timeout_s is not None:
            self._timer = self._turn.loop.call_later(timeout_s, self._schedule, context=self.process.context)
        self._give_turn_back()
        return self._woken

    def wake(self) -> None:
        """What it waits for is there."""
        if self._timer is not None:
            self._timer.cancel()
        self._woken = True
        if not self._is_to_run:
            self._schedule()

    def _schedule(self) -> None:
        self._is_to_run = True
        self._turn.loop.call_soon(self._resume, context=self.process.context)

    def _resume(self) -> None:
        if self._is_to_run and not self.ended:
            self._is_to_run = False
            before = self._turn.running
            self._turn.running, self._turn.loop.thread_process = self, self.process
            self._mine.release()
            self._loops.acquire()
            self._turn.running, self._turn.loop.thread_process = before, None

    def _give_turn_back(self) -> None:
        self._loops.release()
        self._mine.acquire()
        if self._is_to_end:
            raise SystemExit

    def end(self) -> None:
        if not self.ended:
            self._is_to_end = self._is_to_run = True
            self._resume()
            self._thread.join()

    def _run(self, target: Callable[[], None]) -> None:
        self._mine.acquire()
        try:
            if not self._is_to_end:
                target()
        except SystemExit:
            pass
        finally:
            self.ended = True
            self._loops.release()


class SimulatedEvent:
    """`threading.Event`."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._is_set = False
        self._waiting: list[SimulatedThread] = []

    def set(self) -> None:
        self._is_set = True
        waiting, self._waiting = self._waiting, []
        for thread in waiting:
            thread.wake()

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, timeout: float | None = None) -> bool:
        thread = self._turn.running
        assert thread is not None
        if not self._is_set:
            self._waiting.append(thread)
            thread.block(timeout)
            if thread in self._waiting:
                self._waiting.remove(thread)
        return self._is_set


class Threading:
    """What the heartbeat takes from `threading`."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn

    def Thread(self, *, target: Callable[[], None], **_: Any) -> SimulatedThread:  # noqa: N802  # as it is called
        return SimulatedThread(self._turn, target)

    def Event(self) -> SimulatedEvent:  # noqa: N802  # as it is called
        return SimulatedEvent(self._turn)


class BlockingSocket(asyncio.Protocol):
    """A socket that blocks its (simulated) thread, on the simulated network."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._thread = turn.running
        self._timeout_s: float | None = None
        self._transport: Any = None
        self._data = b""
        self._error: OSError | None = None
        self._is_closed = False

    def setsockopt(self, *_: Any) -> None:
        """Nothing here needs an option."""

    def settimeout(self, timeout_s: float | None) -> None:
        self._timeout_s = timeout_s

    def connect(self, _: Any) -> None:
        thread = self._thread
        assert thread is not None
        task = thread.process.spawn(self._turn.loop.network.connect(lambda: self), "connect a thread")
        task.add_done_callback(self._connected, context=thread.process.context)
        self._wait(task.done)
        task.result()

    def _connected(self, _: asyncio.Task[Any]) -> None:
        assert self._thread is not None
        self._thread.wake()

    def sendall(self, data: bytes) -> None:
        self._check()
        self._transport.write(data)

    def recv(self, _: int) -> bytes:
        self._wait(lambda: bool(self._data) or self._is_closed or self._error is not None)
        self._check()
        data, self._data = self._data, b""
        return data

    def _wait(self, is_there: Callable[[], bool]) -> None:
        assert self._thread is not None
        if not is_there():
            self._thread.block(self._timeout_s)
        if not is_there():
            raise TimeoutError("timed out")

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        assert self._thread is not None
        self._thread.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_closed = True
        self._error = ConnectionResetError(str(exc)) if exc else None
        assert self._thread is not None
        if self._thread.process.state is not State.DEAD:
            self._thread.wake()


class Sockets:
    """What a blocking connection takes from `socket`."""

    AF_UNIX, SOCK_STREAM = socket.AF_UNIX, socket.SOCK_STREAM
    IPPROTO_TCP, TCP_NODELAY = socket.IPPROTO_TCP, socket.TCP_NODELAY

    def __init__(self, turn: Turn) -> None:
        self._turn = turn

    def create_connection(self, where: Any, timeout: float | None = None) -> BlockingSocket:
        made = BlockingSocket(self._turn)
        made.settimeout(timeout)
        made.connect(where)
        return made


class InlineExecutor:
    """Where a worker runs synchronous bodies: in the loop's own thread, after a moment."""

    def __init__(self, loop: SimulatedLoop, pause_s: Callable[[], float]) -> None:
        self._loop = loop
        self._pause_s = pause_s

    def submit(self, work: Callable[..., Any], /, *args: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work(*args))
            except BaseException as error:
                future.set_exception(error)

        self._loop.call_later(self._pause_s(), run)
        return future

    def shutdown(self, **_: Any) -> None:
        """Nothing is left."""
