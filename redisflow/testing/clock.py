"""`virtual_clock`: a real server, normal workers, and a time that the test moves: a month takes milliseconds.

The hard thing is to know when the time may be moved: not while a run could still do something now. The namespace is at
rest when no run waits to be claimed, none is held by a worker, nothing is due, and nothing lies in an outbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import datetime

from redisflow.backend.options import BackendOptions
from redisflow.durations import Duration, Instant, describe_ms, from_ms, to_ms, to_when
from redisflow.errors import RedisflowError
from redisflow.flow import RedisFlow
from redisflow.testing.clock_keys import ClockKeys, Survey
from redisflow.testing.virtual_time import VirtualTime

_LOOK_FIRST_S = 0.001
_LOOK_LAST_S = 0.01


class NotAtRest(RedisflowError, AssertionError):
    """Runs went on, or waited for a worker, for longer than the clock waits for them."""


class VirtualClock:
    """The clock of one namespace, as `virtual_clock` gives it. It stands still but for what is said here."""

    auto_skip: bool
    """Whether the time moves by itself while a `result()` waits and everything is at rest."""

    def __init__(self, keys: ClockKeys, passing: VirtualTime, *, patience_s: float) -> None:
        """Made by `virtual_clock`."""
        self.auto_skip = False
        self._keys = keys
        self._time = passing
        self._now_ms = passing.now_ms
        self._patience_s = patience_s
        self._turn = asyncio.Lock()

    def __repr__(self) -> str:
        """For people."""
        return f"VirtualClock({self.now.isoformat()})"

    @property
    def now(self) -> datetime:
        """What time it is for runs."""
        return from_ms(self._now_ms)

    async def advance(self, to: Instant, *, settle: bool = True) -> None:
        """Let so much time pass, or let it become this time: what falls due on the way happens in its order.

        It waits until everything is at rest, moves to the next instant at which something is due, and so on; at the
        end it waits for rest once more, so whatever the passing of the time sets off has happened when this returns.
        NotAtRest where a run is still to be claimed, or goes on, after `patience`.

        With `settle=False` it waits for nothing, and the time jumps: for a test that holds a step's body on purpose.
        """
        when = to_when(to, what="advance")
        async with self._turn:
            now_ms = self._now_ms
            target_ms = now_ms + when.ms if when.relative else when.ms
            if target_ms < now_ms:
                msg = f"it is {self.now.isoformat()} already: the time of a test does not go back to {to}"
                raise ValueError(msg)
            while settle:
                survey = await self._settled()
                if survey.next_due_ms is None or survey.next_due_ms > target_ms:
                    break
                await self._move_to(survey.next_due_ms)
            await self._move_to(target_ms)
            if settle:
                await self._settled()

    async def skip(self) -> datetime | None:
        """Move to the next instant at which something is due, and wait for rest; None where nothing waits for one."""
        async with self._turn:
            survey = await self._settled()
            if survey.next_due_ms is None:
                return None
            await self._move_to(survey.next_due_ms)
            await self._settled()
            return self.now

    async def settle(self) -> None:
        """Wait until everything is at rest. NotAtRest where that takes longer than `patience`."""
        async with self._turn:
            await self._settled()

    async def _move_to(self, now_ms: int) -> None:
        # Known here first, since a run may end before the last partition is told. Then the server: what a worker
        # believes may lag behind it, and is never ahead.
        self._now_ms = now_ms
        await self._keys.set_clock(now_ms)
        self._time.move_to(now_ms)

    async def _settled(self) -> Survey:
        until_s = time.monotonic() + self._patience_s
        pause_s, rested = _LOOK_FIRST_S, False
        while True:
            survey = await self._keys.survey()
            if survey.is_at_rest and rested:
                return survey
            rested = survey.is_at_rest
            if not rested:
                if time.monotonic() > until_s:
                    raise NotAtRest(await self._explain(survey))
                await self._keys.go_on()
                await asyncio.sleep(pause_s)
                pause_s = min(_LOOK_LAST_S, pause_s * 1.5)

    async def skip_forever(self) -> None:
        """What `auto_skip` does, until it is cancelled."""
        while True:
            if self.auto_skip and await self._keys.is_awaited():
                async with self._turn:
                    await self._skip_if_at_rest()
                await asyncio.sleep(_LOOK_FIRST_S)
            else:
                await asyncio.sleep(_LOOK_LAST_S)

    async def _skip_if_at_rest(self) -> None:
        survey = await self._keys.survey()
        if not survey.is_at_rest:
            await self._keys.go_on()
            return
        again = await self._keys.survey()
        # Once more: whoever awaited the end may have been told of it, and do something else by now.
        if again == survey and survey.next_due_ms is not None and await self._keys.is_awaited():
            await self._move_to(survey.next_due_ms)

    async def _explain(self, survey: Survey) -> str:
        found: list[str] = []
        for run_id in survey.run_ids:
            run = await self._keys.get_workflow_run(run_id)
            if run is not None:
                found.append(f"  {run.workflow} {run_id} is {run.status}{_about(run.status)}")
        what = "\n".join(found) or f"  {survey.posted} messages between runs are not delivered"
        return (
            f"the namespace has not come to rest within {describe_ms(int(self._patience_s * 1000))}, "
            f"so the clock was not moved on from {self.now.isoformat()}:\n{what}\n"
            "A body that is held on purpose: advance(..., settle=False)"
        )


def _about(status: str) -> str:
    if status == "pending":
        return ": no worker has taken it up. Is one started, and does it serve its queue?"
    return ": the body of a step goes on" if status == "running" else ""


@contextlib.asynccontextmanager
async def virtual_clock(
    flow: RedisFlow, *, auto_skip: bool = True, start: datetime | None = None, patience: Duration = "10s"
) -> AsyncGenerator[VirtualClock]:
    """A clock for the runs of a flow: inside, their time stands still unless it is moved.

    Begin workers inside, and start runs inside: what was begun before goes by the server's time. The time begins at
    `start`, else now. With `auto_skip` it moves to the next instant at which something is due whenever somebody waits
    in a `result()` and everything is at rest; without, `clock.advance` and `clock.skip` alone move it.

    Sleeps, retries, timeouts of waits, deadlines, delayed starts and schedules follow it. Step bodies, their timeouts,
    leases and `result(timeout=...)` go by real time, and what Redis itself forgets (idempotency keys) as well. It is
    for one process: `memory://` or any server, and no worker processes.
    """
    passing = VirtualTime(_start_ms(start))
    own = flow.location
    options = BackendOptions(namespace=own.namespace, partitions=own.partitions, clock="test")
    keys = ClockKeys(own.url, **options)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(keys.close)
        await keys.open()
        stack.push_async_callback(keys.clear_clock)
        await keys.set_clock(passing.now_ms)
        await stack.enter_async_context(flow.moved_to(replace(own, clock="test", read_clock=passing.read_clock)))
        clock = VirtualClock(keys, passing, patience_s=to_ms(patience, what="patience") / 1000)
        clock.auto_skip = auto_skip
        skipping = asyncio.create_task(clock.skip_forever(), name="redisflow clock")
        try:
            yield clock
        finally:
            skipping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await skipping


def _start_ms(start: datetime | None) -> int:
    return time.time_ns() // 1_000_000 if start is None else to_when(start, what="start").ms
