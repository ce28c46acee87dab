"""What the bodies of a run are doing, for people: steps that have run for longer than a second."""

from __future__ import annotations

from collections.abc import Iterable

from redisflow.contract import RunClock
from redisflow.run_views import Progress, encode_progress
from redisflow.worker.bodies import Body

SHOWN_AFTER_S = 1.0

WAITING = b""
"""Noted for a run that has not begun: if its worker crashes, it was not because of this run."""
BEGUN = encode_progress([])


def progress_of(bodies: Iterable[Body], clock: RunClock, now_s: float) -> list[Progress]:
    """Of those that have run for long enough to be shown."""
    return [
        Progress(
            body.command.key,
            body.command.ordinal,
            body.command.attempt,
            clock.at_ms(body.started_s),
            body.details,
        )
        for body in bodies
        if body.started_s and now_s - body.started_s >= SHOWN_AFTER_S
    ]
