"""Whether redisflow may run on this server: what INFO says, and what follows from it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redisflow.backend.access import explain_denial
from redisflow.backend.wire import Refusal
from redisflow.durability import AS_CONFIGURED, Durability
from redisflow.errors import BackendError, UnsuitableServer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redisflow.backend.patience import Patience
    from redisflow.backend.scripts import Scripts
    from redisflow.backend.transport import Transport

MEMORY_PRODUCT = "memory"
# Script flags (allow-oom) and sharded subscriptions.
_OLDEST = {"redis": (7, 0, 0), "valkey": (7, 2, 0)}


@dataclass(frozen=True, slots=True)
class ServerReport:
    """What a worker must know of the server before it starts."""

    version: tuple[int, int, int]
    product: str
    eviction_policy: str
    persistent: bool
    snapshots: bool = False
    replicas: int = 0
    """Connected at this moment."""


def read_info(reply: bytes) -> dict[str, str]:
    """INFO as names and values."""
    lines = reply.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def report_on(info: Mapping[str, str], save: Any) -> ServerReport:
    """What INFO says; `save` is the reply of CONFIG GET, or None where it is not allowed."""
    product = "valkey" if "valkey_version" in info else "redis"
    numbers = [int(number) for number in re.findall(r"\d+", info.get(f"{product}_version", ""))[:3]]
    version = (*numbers, 0, 0, 0)
    aof = info.get("aof_enabled") == "1"
    # Without CONFIG one cannot see whether snapshots are configured; one that was made since the start says so.
    snapshots = bool(save) and bool(save[1]) if save is not None else info.get("rdb_saves", "0") != "0"
    return ServerReport(
        version=(version[0], version[1], version[2]),
        product=product,
        eviction_policy=info.get("maxmemory_policy", ""),
        persistent=aof or snapshots,
        snapshots=snapshots,
        replicas=int(info.get("connected_slaves", "0")),
    )


def is_too_old(report: ServerReport) -> bool:
    """Whether the server does not know all that the scripts need."""
    return report.version < _OLDEST[report.product]


def refuse_if_too_old(report: ServerReport) -> None:
    """UnsuitableServer where the server does not know all that the scripts need."""
    if is_too_old(report):
        shown = ".".join(map(str, report.version))
        msg = (
            f"{report.product} {shown} is too old: redisflow needs Redis 7.0 or Valkey 7.2, for scripts that may"
            " finish running work when memory is full"
        )
        raise UnsuitableServer(msg)


def check_server(report: ServerReport, durability: Durability = AS_CONFIGURED) -> list[str]:
    """What a worker should warn of. UnsuitableServer where it must not run at all."""
    if report.product == MEMORY_PRODUCT:
        return []
    refuse_if_too_old(report)
    shown = ".".join(map(str, report.version))
    if report.eviction_policy not in ("noeviction", ""):
        msg = (
            f"the server's eviction policy is {report.eviction_policy}: when memory is full it deletes runs. Set"
            " `maxmemory-policy noeviction` in its configuration, or `CONFIG SET maxmemory-policy noeviction` at once"
        )
        raise UnsuitableServer(msg)
    warnings: list[str] = []
    if not report.persistent:
        warnings.append(
            f"{report.product} {shown} keeps nothing on disk: a restart loses every run. Set `appendonly yes`"
        )
    if durability.level == "replicated" and report.replicas < durability.replicas:
        warnings.append(
            f"durability is to be confirmed by {durability.replicas} replicas, and the server has {report.replicas}:"
            " what is written is on the primary alone, and its durability unknown"
        )
    if not report.eviction_policy:
        warnings.append("the server does not tell its eviction policy: see to it that it is noeviction")
    return warnings


def explain_fsync(settings: Any) -> str | None:
    """Why a server does not keep what it acknowledges when its machine dies; `settings` is its reply to CONFIG GET."""
    if isinstance(settings, Refusal):
        return (
            f"whether it writes to disk before it answers cannot be seen, CONFIG GET was refused ({settings.words})."
            " Let this user ask (`ACL SETUSER ... +config|get`), or, if you know that it is configured so, say so:"
            ' durability=Durability(level="fsync", assured=True)'
        )
    pairs = iter(settings)
    found = {name.decode(): value.decode() for name, value in zip(pairs, pairs, strict=True)}
    wrong = [
        f"{name} is {found.get(name, 'unknown')}, not {wanted}"
        for name, wanted in {"appendonly": "yes", "appendfsync": "always"}.items()
        if found.get(name) != wanted
    ]
    if not wrong:
        return None
    return (
        f"the server does not write to disk before it answers: {', '.join(wrong)}. Set `appendonly yes` and"
        " `appendfsync always` in its configuration (and at once with CONFIG SET), or choose another durability"
    )


def refuse_without_fsync(settings: Any) -> None:
    """UnsuitableServer where the level `fsync` cannot be had."""
    if (why := explain_fsync(settings)) is not None:
        raise UnsuitableServer(why)


async def load_or_explain(transport: Transport, scripts: Scripts, patience: Patience, prefix: str) -> None:
    """Make the server know the scripts. UnsuitableServer where it is too old for them."""
    try:
        await patience.wait(transport.load(scripts))
    except BackendError as error:
        if "NOPERM" in str(error):
            raise UnsuitableServer(explain_denial(error)) from error
        # A server that is too old refuses the first line of each script, in words that do not say so.
        if "compiling script" not in str(error):
            raise
        try:
            info = await patience.give(transport.send(prefix, ("INFO",)))
        except BackendError:  # not everybody may ask: then the server's words must do
            info = None
        if info is not None:
            refuse_if_too_old(report_on(read_info(info), None))
        raise
