"""Counts by the minute what happens in one worker, for the charts of the whole namespace: see `redisflow.minutes`.

It is told of every run, so it counts in plain lists. What it has counted is held for an hour at most, where the server
is away for so long: then the oldest minutes are given up.
"""

from __future__ import annotations

from redisflow.contract import Claim
from redisflow.contract.observer import Observer, began_ms, is_first
from redisflow.minutes import Tally, minute_of

HELD_MINUTES = 60
_ENDS = {"succeeded": Tally.SUCCEEDED, "failed": Tally.FAILED, "canceled": Tally.CANCELED}

Counts = dict[int, dict[str, Tally]]
"""By minute and workflow."""


class MinuteCounts(Observer):
    """Of one worker, between two flushes."""

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self._counts: Counts = {}

    def run_taken(self, claim: Claim, worker: str, at_ms: int) -> None:
        """See `Observer`."""
        if is_first(claim):
            tally = self._tally(claim.workflow, at_ms)
            tally.add(Tally.STARTED)
            tally.add_duration(Tally.LATENCIES, max(0, at_ms - claim.due_at_ms))

    def run_left(self, claim: Claim, how: str, at_ms: int) -> None:
        """See `Observer`."""
        ended = _ENDS.get(how)
        if ended is not None:
            tally = self._tally(claim.workflow, at_ms)
            tally.add(ended)
            tally.add_duration(Tally.DURATIONS, max(0, at_ms - began_ms(claim)))

    def attempt_failed(self, claim: Claim, at_ms: int) -> None:
        """See `Observer`."""
        self._tally(claim.workflow, at_ms).add(Tally.STEP_FAILURES)

    def _tally(self, workflow: str, at_ms: int) -> Tally:
        minute = minute_of(at_ms)
        workflows = self._counts.get(minute)
        if workflows is None:
            workflows = self._counts[minute] = {}
            if len(self._counts) > HELD_MINUTES:
                del self._counts[min(self._counts)]
        tally = workflows.get(workflow)
        if tally is None:
            tally = workflows[workflow] = Tally()
        return tally

    def take(self) -> Counts:
        """All that was counted; from here on it counts anew."""
        taken, self._counts = self._counts, {}
        return taken

    def put_back(self, counts: Counts) -> None:
        """What could not be added anywhere is counted once more, with what has come meanwhile."""
        for minute, workflows in counts.items():
            mine = self._counts.setdefault(minute, {})
            for workflow, tally in workflows.items():
                if workflow in mine:
                    mine[workflow].merge(tally)
                else:
                    mine[workflow] = tally
        for minute in sorted(self._counts)[:-HELD_MINUTES]:
            del self._counts[minute]
