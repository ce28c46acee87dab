"""A process that does nothing but work: the event loop and the garbage collector that suit it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any

COLLECT_AFTER = (5_000, 5, 2)
"""Of the three generations. Runs leave memory by themselves, so the collector need not look at each of them on its way.

But what code of users leaves behind in rings may be large, and the collector counts objects, not bytes."""


def run_worker_process(main: Coroutine[Any, Any, None]) -> None:
    """Run it to its end, on uvloop where that is installed (`redisflow[fast]`). Import what it needs before."""
    gc.collect()
    # Modules and what they hold stay: no collection needs to look at them again.
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    try:
        import uvloop  # noqa: PLC0415  # an extra
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)
