"""Keys of the terminal in which `redisflow dev` runs: without Enter, and the terminal is as it was at the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
import tty
from collections.abc import Callable, Generator

STDIN = 0


@contextlib.contextmanager
def read_keys(on_key: Callable[[str], None]) -> Generator[None]:
    """Call `on_key` in the running loop for each key; where there is no terminal, for none."""
    if not has_keys():
        yield
        return
    loop = asyncio.get_running_loop()
    before = termios.tcgetattr(STDIN)

    def read() -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = os.read(STDIN, 64)
        if not data:  # the terminal is gone
            loop.remove_reader(STDIN)
        for key in data.decode(errors="ignore"):
            on_key(key)

    # Ctrl-C goes on being a signal.
    tty.setcbreak(STDIN, termios.TCSANOW)
    loop.add_reader(STDIN, read)
    try:
        yield
    finally:
        loop.remove_reader(STDIN)
        with contextlib.suppress(termios.error):
            termios.tcsetattr(STDIN, termios.TCSADRAIN, before)


def has_keys() -> bool:
    """In the background (`redisflow dev &`) they are somebody else's, and asking for them would stop this process."""
    try:
        return os.tcgetpgrp(STDIN) == os.getpgrp()
    except OSError:  # no terminal, or not the one of this session
        return False
