"""How long a client's call waits for a server that is away.

Every call has the same patience, so those that wait stand in the order in which they give up: one timer serves all,
and a call that is answered costs no timer of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from redisflow.errors import BackendUnavailable

if TYPE_CHECKING:
    from redisflow.backend.transport import Transport

T = TypeVar("T")


class Pending(Protocol):
    """A future, or what stands for one."""

    def done(self) -> bool:
        """Whether its answer is there."""
        ...

    def set_exception(self, exception: BaseException, /) -> None:
        """There will be none."""
        ...


P = TypeVar("P", bound=Pending)


class Patience:
    """Ends the calls that have waited for too long, with BackendUnavailable."""

    def __init__(self, transport: Transport, timeout_s: float) -> None:
        """Make it inside a running event loop."""
        self._transport = transport
        self.timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[float, Pending]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def give(self, answer: P) -> P:
        """The same answer, which will not be waited for for ever."""
        waiting = self._waiting
        while waiting and waiting[0][1].done():
            waiting.popleft()
        waiting.append((self._loop.time() + self.timeout_s, answer))
        if self._timer is None:
            self._timer = self._loop.call_later(self.timeout_s, self._look)
        return answer

    async def wait(self, calls: Coroutine[Any, Any, T]) -> T:
        """The result of several calls in a row, with the patience of one."""
        try:
            async with asyncio.timeout(self.timeout_s):
                return await calls
        except TimeoutError:
            raise self._error() from None

    def _look(self) -> None:
        self._timer = None
        now_s = self._loop.time()
        waiting = self._waiting
        while waiting and (waiting[0][1].done() or waiting[0][0] <= now_s):
            _, answer = waiting.popleft()
            if not answer.done():
                answer.set_exception(self._error())
        if waiting:
            self._timer = self._loop.call_at(waiting[0][0], self._look)

    def _error(self) -> BackendUnavailable:
        why = f" ({self._transport.trouble})" if self._transport.trouble else ""
        return BackendUnavailable(
            f"no answer from {self._transport.masked_url} within {self.timeout_s:g} s{why}. Check that the server"
            " runs and that the URL is right (rediss:// where it speaks TLS). The call may be made again; what"
            " starts or sends something may have done so, and needs an idempotency key for that"
        )
