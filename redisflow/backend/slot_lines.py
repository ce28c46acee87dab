"""Calls for a partition that nobody serves just now: its slot is being moved to another node, or has no owner.

While a slot is moved, some of its keys are here and some are there, and a script that ran on either side would take
what is elsewhere for missing. So the redirection ASK is never followed: calls wait in a line, in their order, until the
move is over. The first of them is sent again and again; the others follow when it has been answered.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

from redisflow.backend.batch import Call
from redisflow.backend.outage import OutageLog

# How long before the first call of a line is sent again.
_FIRST_S, _LAST_S = 0.05, 0.15


class _Line:
    def __init__(self) -> None:
        self.calls: deque[Call] = deque()
        self.asking: asyncio.Future[object] | None = None
        """What the call that is sent out again and again is to resolve."""
        self.timer: asyncio.TimerHandle | None = None


class SlotLines:
    """One line for each partition that waits. `send` sends calls to their node, or puts them back into their line."""

    def __init__(self, outage: OutageLog, send: Callable[[str, Iterable[Call]], None]) -> None:
        """Make it inside a running event loop."""
        self._outage = outage
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._lines: dict[str, _Line] = {}

    def __contains__(self, prefix: str) -> bool:
        """Whether calls for this partition wait: then later ones stand behind them."""
        return prefix in self._lines

    def __bool__(self) -> bool:
        """Whether any partition waits."""
        return bool(self._lines)

    def wait(self, prefix: str, call: Call, why: str) -> None:
        """Put a call into its partition's line."""
        line = self._lines.get(prefix)
        if line is None:
            line = self._lines[prefix] = _Line()
            self._outage.begin(line, why)
        if call[0] is line.asking:
            line.calls.appendleft(call)
            self._ask_later(prefix, line)
        else:
            line.calls.append(call)
            if line.asking is None and line.timer is None:
                self._ask_later(prefix, line)

    def give_up(self) -> list[Call]:
        """Every call that waits."""
        lines, self._lines = self._lines, {}
        for line in lines.values():
            self._outage.end(line)
            if line.timer is not None:
                line.timer.cancel()
        return [call for line in lines.values() for call in line.calls]

    def _ask_later(self, prefix: str, line: _Line) -> None:
        pause_s = random.uniform(_FIRST_S, _LAST_S)  # noqa: S311  # jitter
        line.timer = self._loop.call_later(pause_s, self._ask, prefix, line)

    def _ask(self, prefix: str, line: _Line) -> None:
        line.timer = None
        while line.calls and line.calls[0][0].done():
            line.calls.popleft()
        if not line.calls:
            self._end(prefix, line)
            return
        call = line.calls.popleft()
        if call[0] is not line.asking:
            line.asking = call[0]
            call[0].add_done_callback(partial(self._answered, prefix, line))
        self._send(prefix, [call])

    def _answered(self, prefix: str, line: _Line, asked: asyncio.Future[object]) -> None:
        if self._lines.get(prefix) is not line or line.asking is not asked:
            return
        if line.timer is not None:
            # Its caller gave up while it stood here: the next one is asked about.
            line.asking = None
            return
        self._end(prefix, line)

    def _end(self, prefix: str, line: _Line) -> None:
        del self._lines[prefix]
        self._outage.end(line)
        if line.calls:
            self._send(prefix, line.calls)
