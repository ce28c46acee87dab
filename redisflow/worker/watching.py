"""Tells an observer the details of one held run: its attempts as they run, its records once they are stored.

It is made only where an observer asks for details: other runs are told of by their beginning and their end alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redisflow.contract.observer import Attempt, AttemptEnd, Observer
from redisflow.engine.commands import Commit, Finish, Raised
from redisflow.records import decode_record

if TYPE_CHECKING:
    from redisflow.contract import Claim
    from redisflow.engine.commands import BodyOutcome
    from redisflow.worker.bodies import Body


class RunWatch:
    """Of one claim."""

    __slots__ = ("_claim", "_mark", "_observer")

    def __init__(self, observer: Observer, claim: Claim) -> None:
        """Made when the run is taken up."""
        self._observer = observer
        self._claim = claim
        self._mark = observer.mark_of(claim) if observer.wants_attempts else None

    def begin(self, body: Body) -> None:
        """A body is about to run."""
        if not self._observer.wants_attempts:
            return
        command = body.command
        attempt = body.watched = Attempt(command.key, command.kind, command.attempt)
        body.context = self._observer.attempt_began(self._claim, attempt)

    def end(self, body: Body, outcome: BodyOutcome) -> None:
        """It has ended by itself, or by its timeout."""
        if type(outcome) is Raised:
            self._end(body, "timed_out" if outcome.timed_out else "failed", outcome.error)
        else:
            self._end(body, "succeeded", None)

    def give_up(self, body: Body) -> None:
        """It was cancelled, and is gone."""
        self._end(body, "canceled", None)

    def _end(self, body: Body, how: AttemptEnd, error: BaseException | None) -> None:
        attempt, body.watched = body.watched, None
        if attempt is not None:
            self._observer.attempt_ended(self._claim, attempt, how, error)

    def commit(self, commit: Commit) -> None:
        """This is about to be sent."""
        if self._mark is not None and not isinstance(commit.then, Finish):
            commit.extension.effects = (*commit.extension.effects, "trace", self._mark)
            self._mark = None

    def committed(self, commit: Commit) -> None:
        """It was stored."""
        if commit.extension.records:
            base_ms = self._claim.started_at_ms
            self._observer.recorded(self._claim, [decode_record(data, base_ms) for data in commit.extension.records])
