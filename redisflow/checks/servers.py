"""The servers: may runs be trusted to them, and how far away are they."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from redisflow.checks.finding import Finding
from redisflow.server_info import SLOTS
from redisflow.words import counted, took

if TYPE_CHECKING:
    from redisflow.durability import Durability
    from redisflow.server_info import ServerInfo, ServerNode

PINGS = 50
PING_WARN_MS = 20.0
"""Each transition of a run is one round trip."""
MEMORY_WARN, MEMORY_FAIL = 0.8, 0.95
CLOCK_WARN_MS = 1_000.0
LAG_WARN_S = 10
_MIB = 1024 * 1024


def check_servers(info: ServerInfo, durability: Durability) -> Iterator[Finding]:
    """Each of them, and a cluster as a whole."""
    if info.mode == "memory":
        yield Finding("server", "place", "ok", "inside each process: nothing is kept, and no two processes share it")
        return
    for node in info.nodes:
        group = group_of(info, node.address)
        yield from _check_node(group, node)
        yield _check_disk(group, node, durability)
        yield _check_replicas(group, node, durability)
    if info.mode == "cluster":
        yield _check_slots(info)
    for address in info.silent:
        fix = "see that its process runs; the runs of its slots stand still meanwhile"
        yield Finding("cluster", address, "fail", "does not answer", fix)


def group_of(info: ServerInfo, address: str) -> str:
    """What belongs to this node."""
    return "server" if len(info.nodes) == 1 else f"server {address}"


def _check_node(group: str, node: ServerNode) -> Iterator[Finding]:
    version = f"{node.kind} {node.version}"
    if node.is_too_old:
        fix = "upgrade it: Redis 7.0 or Valkey 7.2 is the oldest"
        yield Finding(
            group, "version", "fail", f"{version} is too old: its scripts may not finish when memory is full", fix
        )
    elif node.flaws:
        yield Finding(group, "version", "warn", node.flaws[0], "upgrade it, where your distribution has not mended it")
    else:
        yield Finding(group, "version", "ok", f"{version} at {node.address}, up for {took(node.uptime_s)}")
    load = f"{counted(node.clients, 'connection')}, {node.ops_per_s:,} commands/s, {counted(node.keys, 'key')}"
    yield Finding(group, "load", "ok", load)
    yield _check_eviction(group, node)
    yield _check_memory(group, node)
    yield _check_clock(group, node)


def _check_eviction(group: str, node: ServerNode) -> Finding:
    policy = node.eviction_policy
    if policy == "noeviction":
        return Finding(group, "eviction", "ok", policy)
    if not policy:
        return Finding(
            group, "eviction", "warn", "the server does not tell its policy", "see to it that it is noeviction"
        )
    says = f"{policy}: when memory is full, runs are deleted"
    return Finding(group, "eviction", "fail", says, "`maxmemory-policy noeviction`, and at once with CONFIG SET")


def _check_memory(group: str, node: ServerNode) -> Finding:
    used = f"{node.used_memory_bytes / _MIB:,.0f} MiB"
    share = node.memory_share
    if share is None:
        return Finding(group, "memory", "ok", f"{used}, without a limit")
    says = f"{used} of {node.max_memory_bytes / _MIB:,.0f} MiB, {share:.0%}"
    if share < MEMORY_WARN:
        return Finding(group, "memory", "ok", says)
    fix = "raise maxmemory, or keep finished runs for a shorter time (`Retention`); when it is full, starts are refused"
    return Finding(group, "memory", "fail" if share >= MEMORY_FAIL else "warn", says, fix)


def _check_clock(group: str, node: ServerNode) -> Finding:
    ahead_ms = node.clock_ahead_ms
    says = f"{abs(ahead_ms):,.0f} ms {'ahead of' if ahead_ms > 0 else 'behind'} this machine's"
    if abs(ahead_ms) <= CLOCK_WARN_MS + node.rtt_ms / 2:
        return Finding(group, "clock", "ok", says)
    fix = "let both follow a time server: runs go by the server's clock alone"
    return Finding(group, "clock", "warn", says, fix)


def _check_disk(group: str, node: ServerNode, durability: Durability) -> Finding:
    name, fix = "append-only file", "`appendonly yes`, and at once with CONFIG SET"
    fsync = node.aof_fsync or "not told to this user"
    if not node.aof and node.snapshots:
        return Finding(group, name, "warn", "off: a restart loses what came after the last snapshot", fix)
    if not node.aof:
        return Finding(group, name, "warn", "off, and no snapshots: a restart loses every run", fix)
    if not node.aof_is_written:
        return Finding(group, name, "fail", "its last write failed", "look at the disk, and at the server's log")
    if durability.level == "fsync" and not durability.assured and node.aof_fsync not in ("always", None):
        says = f"fsync {fsync}, and the app wants it before each answer"
        return Finding(group, name, "fail", says, "`appendfsync always`, and at once with CONFIG SET")
    return Finding(group, name, "ok", f"on, fsync {fsync}")


def _check_replicas(group: str, node: ServerNode, durability: Durability) -> Finding:
    late = [each for each in node.replicas if each.state != "online" or each.lag_s > LAG_WARN_S]
    if durability.level == "replicated" and len(node.replicas) < durability.replicas:
        says = f"{len(node.replicas)}, and the app wants {durability.replicas} to confirm"
        return Finding(group, "replicas", "warn", says, "start them: until then the durability of writes is unknown")
    if late:
        says = ", ".join(f"{each.address} is {each.state}, last heard of {each.lag_s} s ago" for each in late)
        return Finding(group, "replicas", "warn", says, "a fail-over to one that is behind loses acknowledged writes")
    return Finding(group, "replicas", "ok", ", ".join(each.address for each in node.replicas) or "none")


def _check_slots(info: ServerInfo) -> Finding:
    says = f"{info.slots:,} of {SLOTS:,} on {counted(len(info.nodes), 'node')}"
    if info.slots == SLOTS:
        return Finding("cluster", "slots", "ok", says)
    return Finding(
        "cluster", "slots", "fail", says, "runs of partitions in the others stand still: assign or repair them"
    )


def check_pings(info: ServerInfo, pings: Mapping[str, Sequence[float]]) -> Iterator[Finding]:
    """How far away each is."""
    for address, times in pings.items():
        half, most = times[len(times) // 2], times[min(len(times) - 1, len(times) * 99 // 100)]
        says = f"{half:.2f} ms, p99 {most:.2f} ms ({len(times)} PINGs)"
        group = group_of(info, address)
        if half <= PING_WARN_MS:
            yield Finding(group, "round trip", "ok", says)
        else:
            fix = "run workers nearer to it: each step costs a round trip at least"
            yield Finding(group, "round trip", "warn", says, fix)
