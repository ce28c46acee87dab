"""Several worker processes of one command: started together, stopped together, replaced when one dies."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

RESTART_S = 1.0
"""A process that dies at once is started again at this pace, not faster."""

_log = logging.getLogger("redisflow.worker")


def supervise(words: Sequence[str], count: int) -> int:
    """Run the command `count` times until a signal; signals are passed on, each as often as it came."""
    command = [sys.executable, "-m", "redisflow", *words, "--processes", "1"]
    children = [subprocess.Popen(command) for _ in range(count)]  # noqa: S603  # our own command line
    stopping = False

    def pass_on(number: int, _: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, pass_on)
    while not stopping:
        for place, child in enumerate(children):
            code = child.poll()
            if code is not None and not stopping:
                if code in {1, 2, 3}:
                    # It said why itself: the others would say the same.
                    pass_on(signal.SIGTERM, None)
                    return code
                _log.warning("worker process %d ended with %d and is replaced", child.pid, code)
                children[place] = subprocess.Popen(command)  # noqa: S603  # our own command line
        time.sleep(RESTART_S)
    return max(abs(child.wait()) for child in children)
