"""Everything that would differ from one run of a simulation to the next, brought under its seed. All of it is here.

Production code asks `time.monotonic`, `os.urandom`, `threading` and the like where it needs them; carrying a host
object to all these places would make each of them heavier for this one reader. What runs is production code all the
same: none of it is replaced, only what the interpreter and the system would tell it.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import logging
import os
import random
import secrets
import sys
import time
import warnings
from collections.abc import Generator
from functools import partial
from typing import Any
from unittest import mock

from redisflow import run_id
from redisflow.backend import caller
from redisflow.worker import claiming, heartbeat
from tests.faults.simulation.loop import START_S, SimulatedLoop
from tests.faults.simulation.threads import Sockets, Threading, Turn

EPOCH_MS = 1_760_000_000_000
"""The wall clock when a simulation begins."""


def wall_ms(loop: SimulatedLoop) -> int:
    """What a right clock shows."""
    return EPOCH_MS + int((loop.time() - START_S) * 1000)


def _wall_ns(loop: SimulatedLoop) -> int:
    return wall_ms(loop) * 1_000_000


@contextlib.contextmanager
def under_seed(loop: SimulatedLoop, turn: Turn, seed: int) -> Generator[None]:
    """Inside, chance comes from the seed and time from the loop."""
    chance = random.Random(f"{seed} entropy")
    state = random.getstate()
    random.seed(f"{seed} random")
    is_collecting = gc.isenabled()
    gc.disable()  # it would close what was left behind at a moment that nobody chose
    patches: list[Any] = [
        mock.patch.object(time, "monotonic", loop.time),
        mock.patch.object(time, "time_ns", partial(_wall_ns, loop)),
        mock.patch.object(time, "thread_time", return_value=0.0),  # a drain's limit of CPU time is the machine's matter
        mock.patch.object(os, "urandom", chance.randbytes),
        mock.patch.object(os, "getpid", return_value=4711),
        mock.patch.object(secrets, "token_hex", lambda count=16: chance.randbytes(count).hex()),
        mock.patch.object(claiming, "_operations", itertools.count()),  # one counter a process: it is part of fences
        mock.patch.object(run_id, "_pool", []),
        mock.patch.object(heartbeat, "threading", Threading(turn)),
        mock.patch.object(caller, "socket", Sockets(turn)),
    ]
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        try:
            yield
        finally:
            random.setstate(state)
            if is_collecting:
                gc.enable()


@contextlib.contextmanager
def quiet() -> Generator[None]:
    """What was killed in the middle of something does not get to say so when it is collected."""
    hook, level = sys.unraisablehook, logging.root.manager.disable
    sys.unraisablehook = lambda _: None
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(level)
            sys.unraisablehook = hook
