"""The servers themselves, asked on connections of their own: what is busy, or refused there, holds nobody else up.

In a cluster each node that owns slots is asked; one that is away for longer than `LOOK_S` is named as silent.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

from redisflow.backend.advisories import known_flaws
from redisflow.backend.audit import SCAN_STEP
from redisflow.backend.inspection import LOOK_S
from redisflow.backend.servers import is_too_old, read_info, report_on
from redisflow.backend.single import ServerEndpoint
from redisflow.backend.slots import read_owners
from redisflow.backend.wire import Refusal, Wire, open_wire
from redisflow.errors import BackendError, BackendUnavailable, UnsuitableServer
from redisflow.names import partition_prefix
from redisflow.server_info import NamespaceInfo, Product, ReplicaInfo, ServerInfo, ServerNode

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from redisflow.backend.connect import Address, Target

_QUESTIONS = (("INFO",), ("CONFIG", "GET", "save"), ("CONFIG", "GET", "appendfsync"))

_META = re.compile(rb"rf:\{([A-Za-z0-9._:-]{1,128}):0\}:meta")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where to ask; no address: wherever the URL leads."""

    address: Address | None = None
    slots: int = 0


class ServersOnRedis:
    """See `ServerCalls`. It needs no namespace, so it can be asked before that is opened."""

    def __init__(self, target: Target, timeout_s: float) -> None:
        """`timeout_s` is how long a client's call waits."""
        self._target = target
        self._timeout_s = timeout_s

    async def describe(self) -> ServerInfo:
        """Ask each of them; BackendUnavailable where none answers, BackendError where it refuses us."""
        nodes, silent = await self._ask_all(_describe)
        return ServerInfo(
            url=self._target.masked,
            mode=self._target.kind,
            nodes=sorted(nodes, key=lambda node: node.address),
            silent=silent,
            at=datetime.now(UTC),
        )

    async def ping(self, times: int) -> Mapping[str, Sequence[float]]:
        """By address, the round trips of so many PINGs one after another, in ms, shortest first."""

        async def ping(wire: Wire, address: str, _: int) -> tuple[str, list[float]]:
            return address, sorted([await _round_trip_ms(wire) for _ in range(times)])

        return dict(sorted((await self._ask_all(ping))[0]))

    async def cpu_seconds(self) -> float | None:
        """See `ServerCalls`."""
        told = [cpu_s for cpu_s in (await self._ask_all(_read_cpu))[0] if cpu_s is not None]
        return sum(told) if told else None

    async def find_namespaces(self, told: Callable[[int], object]) -> Sequence[NamespaceInfo]:
        """See `ServerCalls`."""
        if self._target.kind == "memory":
            return []
        places = await self._within(self._timeout_s, self._read_map()) if self._target.kind == "cluster" else [_Place()]
        found: dict[str, NamespaceInfo] = {}
        for place in places:
            async with AsyncExitStack() as stack:
                opening = stack.enter_async_context(self._connect(place.address))
                wire, _ = await self._within(self._timeout_s, opening)
                async for namespace in self._scan(wire, lambda: told(len(found))):
                    found[namespace.name] = namespace
        return [found[name] for name in sorted(found)]

    async def _scan(self, wire: Wire, told: Callable[[], object]) -> AsyncIterator[NamespaceInfo]:
        cursor = b"0"
        while True:
            command = ("SCAN", cursor, "MATCH", "rf:{*:0}:meta", "COUNT", SCAN_STEP)
            (reply,) = await self._within(self._timeout_s, wire.ask([command]))
            if isinstance(reply, Refusal):
                msg = f"{self._target.masked} refused: {reply.words}. To find namespaces a user needs SCAN"
                raise (UnsuitableServer if reply.code == "NOPERM" else BackendError)(msg)
            cursor, keys = reply
            names = [match[1].decode() for match in map(_META.fullmatch, keys) if match]
            looks = [("HMGET", f"{partition_prefix(name, 0)}meta", "partitions", "layout") for name in names]
            answers = await self._within(self._timeout_s, wire.ask(looks)) if looks else []
            for name, answer in zip(names, answers, strict=True):
                # What has another type, or was deleted meanwhile, is no namespace.
                if not isinstance(answer, Refusal) and all(value and value.isdigit() for value in answer):
                    yield NamespaceInfo(name=name, partitions=int(answer[0]), layout=int(answer[1]))
            told()
            if int(cursor) == 0:
                return

    async def _ask_all(self, ask: Callable[[Wire, str, int], Awaitable[T]]) -> tuple[list[T], list[str]]:
        """What each of them answers, and the addresses of those that did not."""
        if self._target.kind == "memory":
            return [], []
        places = await self._within(self._timeout_s, self._read_map()) if self._target.kind == "cluster" else [_Place()]
        within_s = self._timeout_s if len(places) == 1 else min(LOOK_S, self._timeout_s)
        answers = await asyncio.gather(
            *(self._within(within_s, self._ask(place, ask)) for place in places), return_exceptions=True
        )
        found: list[T] = []
        silent: list[str] = []
        for place, answer in zip(places, answers, strict=True):
            if isinstance(answer, BackendUnavailable) and len(places) > 1:
                silent.append(_shown(place.address or ""))
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found.append(answer)
        if not found:
            msg = f"no node of {self._target.masked} answers: {', '.join(silent)}"
            raise BackendUnavailable(msg)
        return found, silent

    async def _within(self, timeout_s: float, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(timeout_s):
                return await work
        except OSError as error:  # TimeoutError is one
            why = str(error) or f"no answer within {timeout_s:g} s"
            msg = f"no answer from {self._target.masked}: {why}"
            raise BackendUnavailable(msg) from error

    async def _ask(self, place: _Place, ask: Callable[[Wire, str, int], Awaitable[T]]) -> T:
        async with self._connect(place.address) as (wire, address):
            return await ask(wire, address, place.slots)

    @asynccontextmanager
    async def _connect(self, address: Address | None) -> AsyncGenerator[tuple[Wire, str]]:
        endpoint = ServerEndpoint(self._target, address)
        wire = await open_wire(endpoint)
        try:
            yield wire, _shown(endpoint.last)
        finally:
            await wire.close()

    async def _read_map(self) -> list[_Place]:
        """Who owns slots, and how many, as the first node says that answers. OSError where none does."""
        trouble: Exception = ConnectionError("the URL names no node")
        for host in self._target.hosts:
            try:
                async with self._connect(host) as (wire, _):
                    (reply,) = await wire.ask([("CLUSTER", "SLOTS")])
            except (OSError, BackendError) as error:
                trouble = error
                continue
            if isinstance(reply, Refusal):
                msg = f"{self._target.masked} is no cluster: {reply.words}"
                raise BackendError(msg)
            counts: Counter[Address] = Counter()
            for first, last, owner in read_owners(reply, host):
                counts[owner] += last - first + 1
            return [_Place(address, count) for address, count in counts.items()]
        raise trouble


async def _round_trip_ms(wire: Wire) -> float:
    began_s = time.perf_counter()
    await wire.ask([("PING",)])
    return (time.perf_counter() - began_s) * 1000


async def _read_cpu(wire: Wire, _address: str, _slots: int) -> float | None:
    (reply,) = await wire.ask([("INFO", "cpu")])
    info = {} if isinstance(reply, Refusal) else read_info(reply)
    used = [info[name] for name in ("used_cpu_user", "used_cpu_sys") if name in info]
    return sum(map(float, used)) if used else None


async def _describe(wire: Wire, address: str, slots: int) -> ServerNode:
    asked_s, began_s = time.time(), time.perf_counter()
    reply, save, fsync = await wire.ask(_QUESTIONS)
    took_s = time.perf_counter() - began_s
    if isinstance(reply, Refusal):
        msg = f"{address} does not tell its state: {reply.words}"
        raise BackendError(msg)
    info = read_info(reply)
    report = report_on(info, None if isinstance(save, Refusal) else save)
    server_s = int(info.get("server_time_usec", 0)) / 1e6
    return ServerNode(
        address=address,
        kind=cast("Product", report.product),
        version=info.get(f"{report.product}_version", ""),
        is_too_old=is_too_old(report),
        used_memory_bytes=_number(info, "used_memory"),
        max_memory_bytes=_number(info, "maxmemory"),
        eviction_policy=report.eviction_policy,
        aof=info.get("aof_enabled") == "1",
        aof_fsync=None if isinstance(fsync, Refusal) or len(fsync) < 2 else fsync[1].decode(),
        aof_is_written="err" not in (info.get("aof_last_write_status"), info.get("aof_last_bgrewrite_status")),
        snapshots=report.snapshots,
        replicas=_replicas(info),
        uptime_s=_number(info, "uptime_in_seconds"),
        clients=_number(info, "connected_clients"),
        ops_per_s=_number(info, "instantaneous_ops_per_sec"),
        keys=sum(_pairs(value).get("keys", 0) for name, value in info.items() if _is_database(name)),
        slots=slots,
        flaws=known_flaws(report),
        clock_ahead_ms=(server_s - asked_s - took_s / 2) * 1000,
        rtt_ms=took_s * 1000,
    )


def _number(info: Mapping[str, str], name: str) -> int:
    return int(info.get(name, 0))


def _is_database(name: str) -> bool:
    return name.startswith("db") and name[2:].isdigit()


def _pairs(text: str) -> dict[str, Any]:
    pairs = (word.partition("=") for word in text.split(","))
    return {name: int(value) if value.isdigit() else value for name, _, value in pairs}


def _replicas(info: Mapping[str, str]) -> list[ReplicaInfo]:
    found = [_pairs(info[f"slave{number}"]) for number in range(_number(info, "connected_slaves"))]
    return [
        ReplicaInfo(address=f"{each['ip']}:{each['port']}", state=str(each["state"]), lag_s=int(each.get("lag", 0)))
        for each in found
    ]


def _shown(place: Address | str) -> str:
    if isinstance(place, str):
        return place
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
