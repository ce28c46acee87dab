"""A store with patience: what fails is tried again, and what cannot be had says which store, and of which run.

A holder's write waits for the store as it waits for Redis: for as long as it takes, since what it says is already
true. All else gives up after a while.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from redisflow.errors import CannotUnseal, PayloadStoreUnavailable
from redisflow.sealing.envelope import Reference
from redisflow.sealing.store import PayloadStore

T = TypeVar("T")
FIRST_S = 0.1
LAST_S = 15.0
DELETE_S = 30.0
CALL_S = 60.0
"""Of one call: a store that never answers is asked again, and keeps no place for ever."""
AT_ONCE = 32
"""Calls of the store under way."""

_log = logging.getLogger("redisflow.payloads")


class Stored:
    """The payloads of one namespace that are in a store."""

    def __init__(self, store: PayloadStore, folder: str, limit: int) -> None:
        """`limit` is the largest object that is read."""
        self.store = store
        self._folder = folder
        self._limit = limit
        self._places = asyncio.Semaphore(AT_ONCE)

    async def put(self, run_id: str, data: bytes, where: str, within_s: float | None) -> Reference:
        """Write it; PayloadStoreUnavailable where it was not possible in time."""
        reference = await asyncio.to_thread(Reference.to, data)
        await self._try(
            lambda: self.store.put(self._folder, run_id, reference.name, data), f"{where} is not written", within_s
        )
        return reference

    async def get(self, run_id: str, reference: Reference, where: str, within_s: float) -> bytes:
        """Read it; PayloadStoreUnavailable where it was not possible in time, CannotUnseal where it is not there."""
        if reference.size > self._limit:
            msg = f"{where} is an object of {reference.size:,} bytes, over the limit of {self._limit:,}: it is not read"
            raise CannotUnseal(msg)
        data = await self._try(
            lambda: self.store.get(self._folder, run_id, reference.name, reference.size),
            f"{where} is not read",
            within_s,
        )
        if data is None:
            msg = f"{where} is not in {self.store!r} any more (object {reference.name})"
            raise CannotUnseal(msg)
        await asyncio.to_thread(reference.check, data, where)
        return data

    async def delete_run(self, run_id: str) -> None:
        """Delete all that a run has there; PayloadStoreUnavailable where it was not possible in time."""
        await self._try(
            lambda: self.store.delete_run(self._folder, run_id), f"what run {run_id} has is not deleted", DELETE_S
        )

    async def list_runs(self) -> AsyncIterator[Sequence[str]]:
        """All runs that have objects, in pages; PayloadStoreUnavailable where it does not go on."""
        try:
            async for page in self.store.list_runs(self._folder):
                yield page
        except Exception as error:  # whatever a store's library raises
            msg = f"the payload store cannot be listed: {_describe(self.store, error)}"
            raise PayloadStoreUnavailable(msg) from error

    async def _try(self, call: Callable[[], Awaitable[T]], trouble: str, within_s: float | None) -> T:
        delay_s = FIRST_S
        last: Exception | None = None
        try:
            async with asyncio.timeout(within_s):
                while True:
                    try:
                        async with self._places, asyncio.timeout(CALL_S):
                            return await call()
                    except Exception as error:  # noqa: BLE001  # whatever a store's library raises
                        last = error
                    if within_s is None:
                        _log.warning("%s, and tried again in %.1f s: %s", trouble, delay_s, _describe(self.store, last))
                    await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))  # noqa: S311  # jitter
                    delay_s = min(LAST_S, delay_s * 2)
        except TimeoutError:
            why = _describe(self.store, last)
            msg = f"{trouble}, for {within_s:g} s: {why}. Check the store; the call may be made again"
            raise PayloadStoreUnavailable(msg) from last


def _describe(store: PayloadStore, error: Exception | None) -> str:
    return f"{store!r} gives no answer" if error is None else f"{store!r}: {type(error).__name__}: {error}"


async def check_store(store: PayloadStore, within_s: float) -> None:
    """PayloadStoreUnavailable where it cannot be used."""
    try:
        async with asyncio.timeout(within_s):
            await store.check()
    except Exception as error:  # whatever a store's library raises
        msg = (
            f"the payload store cannot be used: {_describe(store, None if isinstance(error, TimeoutError) else error)}"
        )
        raise PayloadStoreUnavailable(msg) from error
