"""Signals that end a command, where it has something to put away first."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence


class Ended(Exception):  # it is no error
    """A signal has ended the command; `number` says which."""

    def __init__(self, number: int) -> None:
        """As shells count it, its exit code is 128 more."""
        super().__init__(number)
        self.number = number


def ending_signals() -> Sequence[signal.Signals]:
    """Those that end a command from outside. Under `nohup` SIGHUP is none of them; only a main thread hears any."""
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        return ()
    is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGTERM,) if is_ignored else (signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def on_ending_signals(act: Callable[[signal.Signals], object]) -> Generator[None]:
    """Inside, `act` is called for each signal that would end the command, Ctrl-C as well."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, *ending_signals())
    for number in numbers:
        loop.add_signal_handler(number, act, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def canceled_by_signals() -> Generator[None]:
    """Inside, SIGTERM and SIGHUP cancel the task that runs, as Ctrl-C does by itself. Raises Ended then."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    seen: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        seen.append(number)
        if task is not None:
            task.cancel()

    numbers = ending_signals()
    for number in numbers:
        loop.add_signal_handler(number, end, number)
    try:
        yield
    except asyncio.CancelledError:
        if not seen:
            raise
        raise Ended(seen[0]) from None
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
