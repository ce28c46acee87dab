"""A worker process whose wall clock is wrong: `python -m tests.crash.wall_clock SECONDS worker module:flow ...`.

All ways in which Python code reads the time of day are set off; a body may set them anew with `jump_to`, as an operator
or a time server does. The monotonic clock and the server's are what they are.
"""

from __future__ import annotations

import datetime as dt
import sys
import time
from typing import Any

_time, _time_ns, _clock_gettime, _clock_gettime_ns = time.time, time.time_ns, time.clock_gettime, time.clock_gettime_ns
_offset_s = 0


def jump_to(offset_s: int) -> None:
    """From now on the wall clock is so many seconds ahead of the real one."""
    global _offset_s  # noqa: PLW0603  # the clock of this process
    _offset_s = offset_s


class _Kind(type(dt.datetime)):  # type: ignore[misc]  # the class of a class
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, _real_datetime)


_real_datetime = dt.datetime


class _WrongDatetime(dt.datetime, metaclass=_Kind):
    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Any:
        return cls.fromtimestamp(time.time(), tz)

    @classmethod
    def utcnow(cls) -> Any:
        return cls.fromtimestamp(time.time(), dt.UTC).replace(tzinfo=None)

    @classmethod
    def today(cls) -> Any:
        return cls.fromtimestamp(time.time())


def _set_off() -> None:
    """Before anything takes a copy of these."""
    of_the_day = time.CLOCK_REALTIME
    time.time = lambda: _time() + _offset_s
    time.time_ns = lambda: _time_ns() + _offset_s * 10**9
    time.clock_gettime = lambda clock: _clock_gettime(clock) + _offset_s * (clock == of_the_day)
    time.clock_gettime_ns = lambda clock: _clock_gettime_ns(clock) + _offset_s * 10**9 * (clock == of_the_day)
    dt.datetime = _WrongDatetime  # type: ignore[misc]  # on purpose


def main() -> int:
    jump_to(int(sys.argv[1]))
    _set_off()
    from redisflow.cli.main import main as command

    return command(sys.argv[2:])


if __name__ == "__main__":
    # Under its own name, so that bodies which import it set the same clock.
    from tests.crash.wall_clock import main as start

    sys.exit(start())
