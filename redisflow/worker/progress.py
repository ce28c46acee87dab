"""What the bodies of a run are doing, for people: steps that have run for longer than a second."""

from __future__ import annotations

from collections.abc import Iterable

from redisflow.runs import Progress, encode_progress
from redisflow.worker.bodies import Body
from redisflow.worker.clock import ClaimClock

SHOWN_AFTER_S = 1.0

WAITING = b""
"""Noted for a run that has not begun: if its worker crashes, it was not because of this run."""
BEGUN = encode_progress([])


def progress_of(bodies: Iterable[Body], clock: ClaimClock, now_s: float) -> list[Progress]:
    """Of those that have run for long enough to be shown."""
    now_ms = clock.now_ms()
    return [
        Progress(
            body.command.key,
            body.command.ordinal,
            body.command.attempt,
            now_ms - int((now_s - body.started_s) * 1000),
            body.details,
        )
        for body in bodies
        if body.started_s and now_s - body.started_s >= SHOWN_AFTER_S
    ]
