"""Paused queues and workflows, on Redis: one hash of what is paused per partition, read by each claim."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from redisflow.backend import replies
from redisflow.contract.controls import ControlRow, ControlState, Driven, ReleasePlan
from redisflow.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redisflow.backend.patience import Patience
    from redisflow.backend.scripts import Scripts
    from redisflow.backend.transport import Transport


class Controls:
    """One object per backend."""

    def __init__(self, transport: Transport, scripts: Scripts, patience: Patience, prefixes: Sequence[str]) -> None:
        """All that it needs to call."""
        self._transport = transport
        self._scripts = scripts
        self._patience = patience
        self._prefixes = prefixes

    async def _ask(self, partition: int, name: str, **arguments: Any) -> Any:
        prefix = self._prefixes[partition]
        command = self._scripts.by_name[name].call(prefix, **arguments)
        return await self._patience.give(self._transport.send(prefix, command))

    async def pause(self, partition: int, control: str) -> None:
        """From now on nothing of it is claimed."""
        await self._ask(partition, "pause_control", control=control, release="")

    async def stop(self, partition: int, control: str, release: str) -> None:
        """End a release where it is still this one; it waits for a server that is away, as all calls of workers do."""
        prefix = self._prefixes[partition]
        await self._transport.send(prefix, self._scripts.pause_control.call(prefix, control=control, release=release))

    async def resume(self, partition: int, control: str) -> None:
        """Let all of it go on."""
        await self._ask(partition, "resume_control", control=control)

    async def release(self, partition: int, control: str, plan: ReleasePlan) -> bool:
        """Let it go on slowly. Partitions take turns: each begins a part of the interval after the one before it."""
        partitions = len(self._prefixes)
        reply = await self._ask(
            partition,
            "start_release",
            control=control,
            release=plan.release,
            rate=plan.rate,
            ratio=plan.stop_ratio,
            least=plan.least,
            phase=1000 - 1000 * (partition + 1) // partitions,
        )
        return bool(reply[0] == b"releasing")

    async def drive(self, partition: int, limit: int) -> Driven:
        """One bounded step; it waits for a server that is away, as all calls of workers do."""
        prefix = self._prefixes[partition]
        command = self._scripts.drive_controls.call(prefix, limit=limit)
        released, next_in_ms, *failing = replies.expect_ok(await self._transport.send(prefix, command))
        names = list(map(replies.shown, failing))
        return Driven(released, replies.due_in(next_in_ms), list(zip(names[::2], names[1::2], strict=True)))

    async def list(self, partition: int) -> list[ControlRow]:
        """What is paused, or let go slowly."""
        return [_row(row) for row in replies.expect_ok(await self._ask(partition, "list_controls"))]


def _row(row: list[Any]) -> ControlRow:
    try:
        control, state, waiting, since, rate, released, succeeded, failed, stopped, ratio, least = row
        return ControlRow(
            control=control.decode(),
            state=cast("ControlState", state.decode()),
            waiting=int(waiting),
            since_ms=int(since or 0),
            rate=int(rate or 0),
            released=int(released or 0),
            succeeded=int(succeeded or 0),
            failed=int(failed or 0),
            stopped_at_ms=int(stopped) if stopped else None,
            stop_ratio=int(ratio or 0),
            least=int(least or 0),
        )
    except ValueError:
        msg = f"control {replies.shown(row[0])} is not as redisflow stores it: pause it again, or let all of it go on"
        raise BackendError(msg) from None
