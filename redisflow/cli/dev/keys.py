"""Keys of the terminal in which `redisflow dev` runs: without Enter, and the terminal is as it was at the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import termios
import tty
from collections.abc import Callable, Generator


@contextlib.contextmanager
def read_keys(on_key: Callable[[str], None]) -> Generator[None]:
    """Call `on_key` in the running loop for each key; where standard input is no terminal, for none."""
    if not sys.stdin.isatty():
        yield
        return
    descriptor = sys.stdin.fileno()
    loop = asyncio.get_running_loop()
    before = termios.tcgetattr(descriptor)

    def read() -> None:
        data = os.read(descriptor, 64)
        if not data:  # the terminal is gone
            loop.remove_reader(descriptor)
        for key in data.decode(errors="ignore"):
            on_key(key)

    # Ctrl-C goes on being a signal.
    tty.setcbreak(descriptor, termios.TCSANOW)
    loop.add_reader(descriptor, read)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        with contextlib.suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
