"""What a held run needs of the worker that holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from redisflow.contract import Backend
from redisflow.contract.observer import Observer
from redisflow.worker.bodies import Bodies
from redisflow.worker.ends import EndLog

if TYPE_CHECKING:
    from redisflow.worker.held_run import HeldRun


class Host(Protocol):
    """A worker, seen from one of its runs."""

    name: str
    backend: Backend
    bodies: Bodies
    ends: EndLog

    @property
    def observer(self) -> Observer:
        """Who is told what becomes of runs."""
        ...

    def is_lease_stale(self, held: HeldRun, now_s: float) -> bool:
        """Whether a commit should renew the lease on its way."""
        ...

    def is_lease_over(self, held: HeldRun, now_s: float) -> bool:
        """Whether another worker may have the run by now."""
        ...

    def has_recorded(self, held: HeldRun) -> None:
        """A run whose last claim ended in a crash has recorded something."""
        ...

    def cannot_read(self, held: HeldRun, error: BaseException) -> None:
        """Something that is stored for the run cannot be read here: drop it, and leave it to whoever can."""
        ...

    def dropped(self, held: HeldRun) -> None:
        """The run is out of this worker's hands."""
        ...
