"""Looking at every key of a namespace, a bounded piece at a time, and putting right what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from redisflow.structure import Breach, Snapshot


@dataclass(frozen=True, slots=True)
class ScanPlace:
    """How far a scan has come: through which part of the key space, and where in it."""

    part: int = 0
    cursor: str = "0"


class AuditCalls(Protocol):
    """The parts of an audit. What each of them reads, it reads in one step of the server."""

    async def scan(self, place: ScanPlace) -> tuple[Mapping[int, Sequence[str]], ScanPlace | None]:
        """Keys of the namespace by partition, without prefixes, and where to go on; None at the end.

        A key that is there all the time comes at least once. On a server that others use as well, all keys of that
        server are walked.
        """
        ...

    async def drop_keys(self, partition: int, names: Sequence[str]) -> int:
        """Delete these keys, a few hundred at most, whatever they hold; how many there were."""
        ...

    async def inspect_runs(self, partition: int, run_ids: Sequence[str]) -> Snapshot:
        """Runs, with all that points to them; those that are not stored any more are left out."""
        ...

    async def inspect_records(self, partition: int, run_id: str, first: int) -> Snapshot:
        """A run alone, with the lengths of some of its records, from `first` on."""
        ...

    async def inspect_keys(self, partition: int, names: Sequence[str], cursor: str = "0") -> Snapshot:
        """A piece of each of these keys, with the runs that it names. The snapshot says where each goes on."""
        ...

    async def repair(self, partition: int, breach: Breach) -> Sequence[str]:
        """Look again and put a breach right; what was done, in words, nothing where there was nothing to do."""
        ...
