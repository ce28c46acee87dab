"""What an acknowledgement is worth: the levels of durability, and what is said where a server did not keep its word."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from redisflow.durations import Duration, to_ms

Level = Literal["redis", "fsync", "replicated"]
LEVELS: tuple[Level, ...] = ("redis", "fsync", "replicated")
MOST_TIMEOUT_MS = 5_000
"""A batch that waits for replicas holds up those behind it: what takes longer is an outage, and is told as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Durability:
    """When a write counts as acknowledged: `RedisFlow(durability=Durability(level="replicated", replicas=2))`.

    `redis`: when the server has executed it; what survives is what the server is configured for. `fsync`: the same on a
    server that writes its append-only file to disk before it answers (`appendonly yes`, `appendfsync always`), which is
    checked at each connection. `replicated`: when `replicas` replicas have it too, for which a batch of calls waits
    at most `timeout`; after that it is answered as well, and its durability is unknown.
    """

    level: Level = "redis"
    replicas: int = 1
    timeout: Duration = "1s"
    assured: bool = False
    """Of `fsync`: that the server is configured so is known, and it does not let this user ask."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, where it is written."""
        if self.level not in LEVELS:
            msg = f"durability is one of {', '.join(LEVELS)}, not {self.level!r}"
            raise ValueError(msg)
        if not isinstance(self.replicas, int) or isinstance(self.replicas, bool) or not 1 <= self.replicas <= 100:
            msg = f"replicas is a whole number from 1 to 100, not {self.replicas!r}"
            raise ValueError(msg)
        if not 1 <= self.timeout_ms <= MOST_TIMEOUT_MS:  # WAIT takes 0 for ever
            msg = f"the timeout of durability lies between 1ms and 5s, not {self.timeout!r}"
            raise ValueError(msg)

    @property
    def timeout_ms(self) -> int:
        """How long a batch waits for replicas."""
        return to_ms(self.timeout, what="timeout")


AS_CONFIGURED = Durability()
"""The level `redis`."""


def as_durability(given: Durability | Level) -> Durability:
    """A level by its name, with the defaults of its numbers. ValueError where there is no such level."""
    return given if isinstance(given, Durability) else Durability(level=given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Acknowledged writes that a server did not have any more, as one process that had made such writes found out.

    The writes of that process that are lost were acknowledged after `after` (None: nobody knows any more) and until
    `until`; others lost theirs, too, if they wrote to this partition then.
    """

    partition: int
    found_at: datetime
    after: datetime | None
    until: datetime
    batches: int
    """How many batches of calls, each of up to some hundreds of runs."""
    seen_by: str
    """Host and process id."""

    def __str__(self) -> str:
        """For people, in a line."""
        batches = f"{self.batches:,} batch{'es' if self.batches != 1 else ''}"
        between = (
            f"until {_clock(self.until)}" if self.after is None else f"{_clock(self.after)} to {_clock(self.until)}"
        )
        return (
            f"partition {self.partition} lost {batches} of calls, acknowledged {between};"
            f" found by {self.seen_by} at {_clock(self.found_at)}"
        )


def _clock(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%d %H:%M:%S UTC")
