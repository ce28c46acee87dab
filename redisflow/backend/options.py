"""The keywords with which a backend is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

from redisflow.backend.scripts import Clock
from redisflow.contract import ReadClock
from redisflow.contract.observer import Observer
from redisflow.durability import Durability


class BackendOptions(TypedDict, total=False):
    """See `RedisBackend`."""

    namespace: str
    partitions: int | None
    clock: Clock
    read_clock: ReadClock
    call_timeout_s: float
    stall_s: float
    durability: Durability
    max_pending: int | None
    observe: Callable[[], Observer | None]
