"""Carries out what was posted to an outbox: words between children and parents, runs and limits, and broadcasts.

Every entry is done before it is removed, and may be done twice: by two workers, or again after a crash between the two.
One that cannot be done holds up no other.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from redisflow.backend import replies
from redisflow.errors import BackendError, BackendUnavailable
from redisflow.runs import TERMINAL

if TYPE_CHECKING:
    from redisflow.backend.broadcasts import Broadcasts
    from redisflow.backend.scripts import Scripts
    from redisflow.backend.transport import Transport

AT_ONCE = 50
"""Entries in one reply: the end of a child has up to 1 MiB."""
PATIENCE_S = 1.0
"""How long one entry may keep its partition's timers waiting; what is for a server that is away is tried again."""
BROADCAST_S = 10.0
"""The same for a broadcast, which begins anew when it is tried again, and may be for thousands of runs."""
_KIDS_AT_ONCE = 100
_LARGE_BYTES = 64 * 1024
_SHOWN = 80
"""Bytes of what may be anything."""

_log = logging.getLogger("redisflow.worker")


class _Outcome(enum.Enum):
    DONE = enum.auto()
    MORE = enum.auto()
    """There is more of it to be done, at once."""
    LEFT = enum.auto()
    """It cannot be done now."""


class Outbox:
    """Of one namespace, all partitions."""

    def __init__(
        self,
        transport: Transport,
        scripts: Scripts,
        prefixes: Sequence[str],
        prefix_of: Callable[[str], str],
        broadcasts: Broadcasts,
    ) -> None:
        """`prefix_of` gives the partition of a run."""
        self._transport = transport
        self._scripts = scripts
        self._prefixes = prefixes
        self._prefix_of = prefix_of
        self._broadcasts = broadcasts
        self._places: dict[int, str] = {}
        """By partition, where to read on: behind entries that had to be left."""
        self._told: set[tuple[str, bytes]] = set()
        """Entries of which it was told that they cannot be read."""

    async def deliver(self, partition: int) -> bool:
        """Carry out some entries; whether there may be more that can be carried out now."""
        prefix = self._prefixes[partition]
        first = self._places.pop(partition, "-")
        command = ("XRANGE", f"{prefix}outbox", first, "+", "COUNT", AT_ONCE)
        entries = await self._transport.send(prefix, command, bulk=True)
        if not entries:
            return False
        outcomes = await asyncio.gather(*(self._try(prefix, at, replies.named(fields)) for at, fields in entries))
        finished = [entry for (entry, _), outcome in zip(entries, outcomes, strict=True) if outcome is _Outcome.DONE]
        if finished:
            await self._transport.send(prefix, self._scripts.clear_outbox.call(prefix, finished))
        if _Outcome.MORE in outcomes:
            self._places[partition] = first
        elif len(entries) == AT_ONCE:
            # Those that are left here must not stand before the others for ever.
            self._places[partition] = f"({entries[-1][0].decode()}"
        return partition in self._places

    async def _try(self, prefix: str, at: bytes, entry: dict[bytes, bytes]) -> _Outcome:
        try:
            async with asyncio.timeout(BROADCAST_S if entry.get(b"do") == b"broadcast" else PATIENCE_S):
                return await self._carry_out(prefix, at, entry)
        except TimeoutError:
            return _Outcome.LEFT
        except BackendUnavailable:
            raise
        except BackendError as error:
            # A run that cannot be written, say, must not keep the others from theirs.
            _log.error("outbox: %s was refused, and is tried again: %s", _describe(entry), error)
            return _Outcome.LEFT
        except (LookupError, ValueError) as error:
            # It is left where it is, for whoever looks why.
            if (prefix, at) not in self._told:
                self._told.add((prefix, at))
                text = "outbox: %s cannot be read, and is left (entry %s of %soutbox): %s: %s"
                _log.error(text, _describe(entry), at.decode(), prefix, type(error).__name__, error)
            return _Outcome.LEFT

    async def _carry_out(self, prefix: str, at: bytes, entry: dict[bytes, bytes]) -> _Outcome:
        run_id = entry.get(b"run", b"").decode()
        match entry[b"do"]:
            case b"give_end":
                to = self._prefix_of(run_id)
                command = self._scripts.give_end.call(to, run_id=run_id, child=entry[b"child"], item=entry[b"item"])
                await self._transport.send(to, command, bulk=len(entry[b"item"]) > _LARGE_BYTES)
            case b"cancel":
                await self._cancel(run_id)
            case b"end_kids":
                return await self._end_kids(prefix, run_id, entry.get(b"rt"))
            case b"look_kids":
                await self._look_at_kids(prefix, run_id)
            case b"broadcast":
                await self._broadcasts.carry_out(prefix, at, entry)
            case b"ask_permit" | b"give_permit" | b"hold_permit" | b"return_permit":
                await self._send_permit(run_id, entry)
            case _:  # of a later version: it is left for a worker that knows it
                return _Outcome.LEFT
        return _Outcome.DONE

    async def _end_kids(self, prefix: str, run_id: str, retries: bytes | None) -> _Outcome:
        """Cancel the children that a run has left behind, some at a time."""
        kids = f"{prefix}kids:{run_id}"
        cursor, found = await self._transport.send(prefix, ("HSCAN", kids, 0, "COUNT", _KIDS_AT_ONCE), bulk=True)
        while not found and int(cursor):  # where most were taken out, a piece of the table may be empty
            command = ("HSCAN", kids, cursor, "COUNT", _KIDS_AT_ONCE)
            cursor, found = await self._transport.send(prefix, command, bulk=True)
        # One that was retried by hand has children of its own again. While these were there, it could not be.
        status, retried = await self._transport.send(prefix, ("HMGET", f"{prefix}run:{run_id}", "s", "rt"))
        has_ended = status is None or replies.status_of(status) in TERMINAL
        if not has_ended and (retried or b"0") != retries:
            return _Outcome.DONE
        policies = replies.named(found)
        await asyncio.gather(*(self._cancel(kid.decode()) for kid, policy in policies.items() if policy == b"cancel"))
        if policies:
            await self._transport.send(prefix, ("HDEL", kids, *policies))
        return _Outcome.MORE if await self._transport.send(prefix, ("EXISTS", kids)) else _Outcome.DONE

    async def _look_at_kids(self, prefix: str, run_id: str) -> None:
        """Tell a run the ends that it has missed, of some of its children."""
        command = ("HRANDFIELD", f"{prefix}kids:{run_id}", _KIDS_AT_ONCE)
        kids = await self._transport.send(prefix, command, bulk=True)
        # Who waits for nothing but words has started all children that it has asked for until now.
        waits = await self._transport.send(prefix, ("HGET", f"{prefix}run:{run_id}", "s"))
        have_started = waits in (b"waiting:child", b"waiting:signal")
        looks = (self._look_at_kid(prefix, run_id, kid.decode(), has_started=have_started) for kid in kids or ())
        await asyncio.gather(*looks)

    async def _look_at_kid(self, prefix: str, run_id: str, kid: str, *, has_started: bool) -> None:
        to = self._prefix_of(kid)
        status = await self._transport.send(to, ("HGET", f"{to}run:{kid}", "s"))
        if status is None:
            # It was deleted, or the server lost what it had acknowledged. From elsewhere its end may be under way.
            if has_started and (to == prefix or not await self._may_be_told(to, kid.encode())):
                await self._give_end(prefix, run_id, kid, b"failed", b"lost", b"")
            return
        if replies.status_of(status) not in TERMINAL:
            return
        command = ("HMGET", f"{to}run:{kid}", "s", "ca", "o", "er")
        status, cause, output, error = await self._transport.send(to, command, bulk=True)
        if status is not None and replies.status_of(status) in TERMINAL:
            # As the script that ended it would have told it.
            payload = b"" if cause else output if status == b"succeeded" else error
            await self._give_end(prefix, run_id, kid, status, cause or b"", payload or b"")

    async def _may_be_told(self, prefix: str, kid: bytes) -> bool:
        """Whether the end of this child may be in the outbox there. What has to be left stands in it for long."""
        command = ("XRANGE", f"{prefix}outbox", "-", "+", "COUNT", AT_ONCE)
        entries = await self._transport.send(prefix, command, bulk=True)
        return len(entries) == AT_ONCE or any(replies.named(fields).get(b"child") == kid for _, fields in entries)

    async def _give_end(self, prefix: str, run_id: str, kid: str, status: bytes, cause: bytes, payload: bytes) -> None:
        item = b"\n".join((b"c", kid.encode(), status, cause, payload))
        give = self._scripts.give_end.call(prefix, run_id=run_id, child=kid, item=item)
        await self._transport.send(prefix, give, bulk=len(item) > _LARGE_BYTES)

    async def _send_permit(self, run_id: str, entry: dict[bytes, bytes]) -> None:
        """What a run and a limit of another partition say to each other: the script is named after it."""
        to = self._prefix_at(entry[b"to"]) if b"to" in entry else self._prefix_of(run_id)
        script = self._scripts.by_name[entry[b"do"].decode()]
        about = {name: run_id if name == "run_id" else entry[name.encode()] for name in script.names}
        await self._transport.send(to, script.call(to, **about))

    def _prefix_at(self, partition: bytes) -> str:
        number = int(partition)
        if 0 <= number < len(self._prefixes):
            return self._prefixes[number]
        msg = f"there is no partition {number} in this namespace"
        raise BackendError(msg)

    async def _cancel(self, run_id: str) -> None:
        to = self._prefix_of(run_id)
        await self._transport.send(to, self._scripts.cancel_child.call(to, run_id=run_id))


def _describe(entry: dict[bytes, bytes]) -> str:
    """For logs: what is to be done, and for which run; nothing that it carries."""
    what, run_id = (entry.get(name, b"?")[:_SHOWN].decode(errors="backslashreplace") for name in (b"do", b"run"))
    return f"{what} of run {run_id}"
