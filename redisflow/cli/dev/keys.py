"""Keys of the terminal in which `redisflow dev` runs: without Enter, and the terminal is as it was at the end.

A key comes alone. What comes together was pasted, or is what an arrow key sends: none of it was meant.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
import tty
from collections.abc import Callable, Generator

STDIN = 0
ALONE_S = 0.05
"""Before and after a key there is nothing else for so long. Pieces of a paste follow one another within 10 ms."""


@contextlib.contextmanager
def read_keys(on_key: Callable[[str], None]) -> Generator[None]:
    """Call `on_key` in the running loop for each key; where there is no terminal, for none."""
    if not has_keys():
        yield
        return
    loop = asyncio.get_running_loop()
    before = termios.tcgetattr(STDIN)

    together = b""
    quiet: asyncio.TimerHandle | None = None

    def read() -> None:
        nonlocal together, quiet
        data = b""
        with contextlib.suppress(OSError):
            data = os.read(STDIN, 4096)
        if not data:  # the terminal is gone
            loop.remove_reader(STDIN)
        together += data
        if quiet is not None:
            quiet.cancel()
        quiet = loop.call_later(ALONE_S, take)

    def take() -> None:
        nonlocal together
        keys, together = together.decode(errors="ignore"), b""
        if len(keys) == 1:
            on_key(keys)

    # Ctrl-C goes on being a signal.
    tty.setcbreak(STDIN, termios.TCSANOW)
    loop.add_reader(STDIN, read)
    try:
        yield
    finally:
        loop.remove_reader(STDIN)
        if quiet is not None:
            quiet.cancel()
        with contextlib.suppress(termios.error):
            termios.tcsetattr(STDIN, termios.TCSADRAIN, before)


def has_keys() -> bool:
    """In the background (`redisflow dev &`) they are somebody else's, and asking for them would stop this process."""
    try:
        return os.tcgetpgrp(STDIN) == os.getpgrp()
    except OSError:  # no terminal, or not the one of this session
        return False
