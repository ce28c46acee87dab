"""What the engine logs in each of many scenarios that run at the same time in one loop."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_current: ContextVar[Lines | None] = ContextVar("redisflow_lines", default=None)
_LOGGERS = ("redisflow", "asyncio")
LINES_A_SECOND = 1.0
AT_ONCE = 2
"""Of each cause: an outage, its end, and the same once more because the fault hit two connections."""


class Lines:
    """Of one scenario. Tasks and callbacks that it begins are its own; threads are known by the port that they name."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.grave: list[str] = []
        self.ports: list[int] = []

    def enter(self) -> None:
        """From here on this task and all that it begins."""
        _current.set(self)
        _handler.all.append(self)

    def leave(self) -> None:
        _handler.all.remove(self)

    def take(self, record: logging.LogRecord) -> None:
        self.counts[f"{record.name}: {record.msg}"] += 1
        if record.levelno >= logging.CRITICAL or (record.name == "asyncio" and record.levelno >= logging.ERROR):
            self.grave.append(_handler.format(record))

    def problems(self, seconds: float) -> list[str]:
        """What says that a loop was ended, or spins."""
        most = AT_ONCE + seconds * LINES_A_SECOND
        spins = [f"{count} lines in {seconds:.1f} s: {what}" for what, count in self.counts.items() if count > most]
        return [*self.grave, *spins]


class _Handler(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.all: list[Lines] = []

    def emit(self, record: logging.LogRecord) -> None:
        lines = _current.get()
        if lines is None:
            text = record.getMessage()
            lines = next((one for one in self.all if any(f":{port}/" in text for port in one.ports)), None)
        if lines is not None:
            lines.take(record)


_handler = _Handler()


@contextmanager
def sorted_lines() -> Iterator[None]:
    """In here, what is logged goes to the scenario that caused it, and nowhere else."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(_handler)
        logger.propagate = False
    logging.getLogger("redisflow").setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(_handler)
            logger.setLevel(level)
            logger.propagate = propagate
