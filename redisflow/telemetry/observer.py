"""Whom workers and clients tell what happens: the one point from which counters, traces and metrics are fed.

Each call is made by the event loop at the moment at which the thing is known, so an observer returns at once and raises
nothing. Instants are those of the server, in ms. What is told of a run is its claim; of its payloads nobody may keep
anything.
"""

from __future__ import annotations

from redisflow.contract import Claim


class Observer:
    """Listens to nothing: whoever wants to hear of something has a method for it."""

    def run_taken(self, claim: Claim, at_ms: int) -> None:
        """A worker goes on with a run, or begins it."""

    def run_left(self, claim: Claim, how: str, at_ms: int) -> None:
        """The run is out of the worker's hands.

        `how` is `succeeded`, `failed`, `canceled`; `parked`, `continued`, `suspended`; or why what the worker did last
        was not recorded: `fenced`, `ended`, `behind`, `missing`.
        """

    def attempt_failed(self, claim: Claim, at_ms: int) -> None:
        """An attempt of a step failed."""


def is_first(claim: Claim) -> bool:
    """Whether nobody has had the run before: its fence counts claims."""
    return claim.hold.fence.startswith("1:")
