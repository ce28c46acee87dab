"""What a store of large payloads must do. `FileStore` and `S3Store` do it; another one may be written by a user."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol


class PayloadStore(Protocol):
    """Objects in folders: one folder for each namespace, and in it one for each run.

    A folder, a run id and a name consist of letters, digits, `.`, `-`, `_` and `%`, in lower case. Whatever cannot be
    done now is an exception, of any kind: it is tried again, and the run waits. An object is never changed: a name
    stands for what it holds, so writing one twice is writing it once.
    """

    async def check(self) -> None:
        """Raise where it cannot be used: not there, not permitted."""
        ...

    async def put(self, folder: str, run_id: str, name: str, data: bytes) -> None:
        """Keep it. When this returns, it survives a crash as the store's other objects do."""
        ...

    async def get(self, folder: str, run_id: str, name: str, size: int) -> bytes | None:
        """What was kept; None where there is none. No more than `size` + 1 bytes are read."""
        ...

    async def delete_run(self, folder: str, run_id: str) -> None:
        """Delete all objects of a run. Safe to repeat, and where there are none."""
        ...

    def list_runs(self, folder: str) -> AsyncIterator[Sequence[str]]:
        """The ids of all runs that have objects, in pages."""
        ...
