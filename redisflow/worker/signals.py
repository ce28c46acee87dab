"""SIGTERM and SIGINT as calls: an orchestrator's stop, and a person's Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Generator


@contextlib.contextmanager
def on_signals(stop: Callable[[], None]) -> Generator[None]:
    """Call `stop` in the running loop for each of them, instead of what Python does."""
    loop = asyncio.get_running_loop()
    installed: list[signal.Signals] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        # Not in the main thread, or not on this platform: then the worker is stopped by its `stop()` alone.
        with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
            loop.add_signal_handler(number, stop)
            installed.append(number)
    try:
        yield
    finally:
        for number in installed:
            loop.remove_signal_handler(number)
