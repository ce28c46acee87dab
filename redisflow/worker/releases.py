"""Lets go slowly what a pause held, and stops that when failures return.

Each partition lets its share go, and tells when failures return there. Whether there are too many, all of them together
say: of few runs in each of many partitions, one that failed says little. If too large a part has failed in all, then in
one of them at least; so the watcher of that one sees it, whoever else is away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from redisflow.contract import Backend
from redisflow.contract.controls import ControlRow
from redisflow.errors import BackendError

T = TypeVar("T")

AT_ONCE = 100
PATIENCE_S = 1.0
"""For the other partitions: the timers of this one wait meanwhile."""

_log = logging.getLogger("redisflow.worker")


async def drive_releases(backend: Backend, partition: int) -> int | None:
    """A step of what is let go slowly here; returns the ms until the next one, None where nothing is."""
    driven = await backend.controls.drive(partition, AT_ONCE)
    for control, release in driven.failing:
        lists = await _answers(backend.controls.list(number) for number in range(backend.partitions))
        if not _is_failing([row for rows in lists for row in rows if row.control == control]):
            continue
        _log.error(
            "release.stopped %s: failures have returned; what is held stays held until it is released again", control
        )
        # One that cannot be told now finds out when failures return there.
        await _answers(backend.controls.stop(number, control, release) for number in range(backend.partitions))
    return driven.next_in_ms


def _is_failing(rows: list[ControlRow]) -> bool:
    """Whether the runs of all partitions that answered, which ended since the release began, say so."""
    rows = [row for row in rows if row.state in {"releasing", "stopped"}]
    failed = sum(row.failed for row in rows)
    ended = failed + sum(row.succeeded for row in rows)
    ratio, least = max((row.stop_ratio for row in rows), default=0), max((row.least for row in rows), default=0)
    return ratio > 0 and ended >= least and failed * 1000 >= ratio * ended


async def _answers(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Of those partitions that answer in time, with something that can be read."""
    tasks = [asyncio.create_task(call) for call in calls]
    try:
        await asyncio.wait(tasks, timeout=PATIENCE_S)
    finally:
        for task in tasks:
            task.cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    answers: list[T] = []
    for answer in found:
        if isinstance(answer, BackendError | asyncio.CancelledError):
            continue
        if isinstance(answer, BaseException):
            raise answer
        answers.append(answer)
    return answers
