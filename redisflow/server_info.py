"""The servers behind a namespace, as they describe themselves at one moment: one entry for each that has keys of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

Mode: TypeAlias = Literal["single", "sentinel", "cluster", "memory"]
Product: TypeAlias = Literal["redis", "valkey"]

SLOTS = 16_384
"""Of a whole cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaInfo:
    """A replica, as its primary sees it."""

    address: str
    """Host and port."""
    state: str
    """`online`, or the server's own word for what it does instead."""
    lag_s: int
    """Since it was last heard of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerNode:
    """One primary: the only server, the one that Sentinels name, or a node of a cluster that owns slots."""

    address: str
    """Host and port, or the path of a unix socket."""
    kind: Product
    version: str
    is_too_old: bool
    """For redisflow: Redis from 7.0, Valkey from 7.2 is not."""
    used_memory_bytes: int
    max_memory_bytes: int
    """0: no limit."""
    eviction_policy: str
    """Empty where the server does not tell."""
    aof: bool
    """Whether it keeps an append-only file."""
    aof_fsync: str | None
    """`always`, `everysec` or `no`; None where this user may not ask."""
    aof_is_written: bool
    """False where the last write or rewrite of that file failed."""
    snapshots: bool
    """Whether it writes snapshots, as far as this user may see."""
    replicas: Sequence[ReplicaInfo]
    uptime_s: int
    clients: int
    """Connections at this moment."""
    ops_per_s: int
    """Commands in a second, of late."""
    keys: int
    """In all databases."""
    slots: int
    """Of a cluster's 16,384; 0 where it is none."""
    flaws: Sequence[str]
    """What is known of this version: see docs/security.md."""
    clock_ahead_ms: float
    """The server's clock less that of this machine, give or take `rtt_ms / 2`."""
    rtt_ms: float
    """How long the question took."""

    @property
    def memory_share(self) -> float | None:
        """How much of the memory that it may use is used, from 0 to 1; None without a limit."""
        return self.used_memory_bytes / self.max_memory_bytes if self.max_memory_bytes else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """What `await flow.server()` answers."""

    url: str
    """Without its password."""
    mode: Mode
    nodes: Sequence[ServerNode]
    """By address. Of `memory://`, which is no server, none."""
    silent: Sequence[str]
    """Addresses of a cluster's nodes that did not answer within 2 s."""
    at: datetime
    """When this was asked, by the clock of this machine."""

    @property
    def slots(self) -> int:
        """How many of a cluster's 16,384 slots are served by nodes that answered; 0 where it is none."""
        return sum(node.slots for node in self.nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceInfo:
    """A namespace, as it was opened first."""

    name: str
    partitions: int
    layout: int
    """The version of its keys."""
