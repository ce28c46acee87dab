"""Where the runs of a flow are kept, and whose time they go by: enough to make a backend for each event loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from redisflow.backend.options import BackendOptions
from redisflow.backend.redis_backend import RedisBackend
from redisflow.backend.scripts import Clock
from redisflow.contract import ClaimClock, ReadClock
from redisflow.durability import AS_CONFIGURED, Durability
from redisflow.telemetry.chosen import Telemetry

if TYPE_CHECKING:
    from redisflow.sealing import Payloads


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """See the module; a test replaces some of it."""

    url: str = field(repr=False)
    """With its credentials."""
    namespace: str
    partitions: int | None
    """Of a namespace that is opened for the first time; None: it must be there."""
    call_timeout_s: float
    stall_s: float = 10.0
    payloads: Payloads | None = None
    durability: Durability = AS_CONFIGURED
    max_pending: int | None = None
    telemetry: Telemetry = field(default_factory=Telemetry, repr=False)
    clock: Clock = "server"
    read_clock: ReadClock = field(default=ClaimClock.of, repr=False)

    def make_backend(self) -> RedisBackend:
        """One that is not open."""
        options = BackendOptions(
            namespace=self.namespace,
            partitions=self.partitions,
            call_timeout_s=self.call_timeout_s,
            stall_s=self.stall_s,
            clock=self.clock,
            read_clock=self.read_clock,
            durability=self.durability,
            max_pending=self.max_pending,
            observe=partial(self.telemetry.observer, self.namespace),
        )
        if self.payloads is None:
            return RedisBackend(self.url, **options)
        from redisflow.backend.sealed_backend import SealedBackend  # noqa: PLC0415  # few need it, and commands start

        return SealedBackend(self.url, payloads=self.payloads, **options)
