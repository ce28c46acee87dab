"""Schedules on Redis: a hash each, listed by when they are due, in the partition that the id says.

A call that needs the next tick asks for the server's time first and computes it here: Lua knows no calendars. What the
time was in between does not matter, because each script refuses what is no longer as it was read. The input is sealed
for the schedule, and for each run anew.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from redisflow.backend import replies
from redisflow.backend.row_batches import LARGE_BYTES
from redisflow.backend.rows import row_of
from redisflow.contract import DueSchedules, NewRun
from redisflow.durations import from_ms
from redisflow.errors import BackendError, CannotUnseal, InvalidSchedule
from redisflow.limited import place_limits
from redisflow.run_id import partition_for_key, run_id_at
from redisflow.schedule import ScheduleDefinition, ScheduleInfo, check_policies
from redisflow.ticks import Ticks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from redisflow.backend.patience import Patience
    from redisflow.backend.scripts import Scripts
    from redisflow.backend.transport import Transport
    from redisflow.contract import FireOutcome, TriggerOutcome
    from redisflow.schedule import Firing
    from redisflow.sealing import Seals

DUE_AT_ONCE = 100
DUE_BYTES = 1 << 20
"""Of the inputs in one reply: as much as a claim brings."""
_NUMBER = re.compile(r"[0-9]{1,15}")
_LAST_MS = 253_402_300_799_999
"""The last of the year 9999."""
_LIMITS = {"lk": "lk", "pr": "pr", "fk": "fp"}
"""Fields of the hash that its runs have: under these names, since its own `fp` is its fingerprint."""


class RedisSchedules:
    """See `ScheduleCalls`."""

    def __init__(
        self,
        transport: Transport,
        scripts: Scripts,
        patience: Patience,
        namespace: str,
        prefixes: Sequence[str],
        seals: Seals,
    ) -> None:
        """All that it needs to call."""
        self._transport = transport
        self._scripts = scripts
        self._patience = patience
        self._namespace = namespace
        self._prefixes = prefixes
        self._seals = seals

    def _partition_of(self, schedule_id: str) -> int:
        return partition_for_key(f"schedule\0{schedule_id}", len(self._prefixes))

    async def _call(self, name: str, schedule_id: str, /, *tail: Any, **arguments: Any) -> list[Any]:
        prefix = self._prefixes[self._partition_of(schedule_id)]
        command = self._scripts.by_name[name].call(prefix, tail, schedule=schedule_id, **arguments)
        is_large = any(isinstance(part, bytes) and len(part) > LARGE_BYTES for part in tail)
        reply: list[Any] = await self._transport.send(prefix, command, bulk=is_large or name == "read_schedule")
        return reply

    # -- what clients call ----------------------------------------------------------------------------------------

    async def put(self, definition: ScheduleDefinition) -> None:
        """Create it, or give it this definition."""
        await self._patience.wait(self.declare(definition))

    async def declare(self, definition: ScheduleDefinition) -> None:
        """The same, for as long as it takes."""
        # Never in the store, where what is no run's is swept: an input is small enough without it.
        sealed = self._seals.seal_now(definition.input, _owner(definition.id), "input")
        # Its runs live where it does, wherever their limits are decided.
        own, limits = self._partition_of(definition.id), definition.limits.get("lk", "")
        fields = _fields_of(definition, sealed, place_limits(limits, own, len(self._prefixes)))
        fingerprint, *earlier = self._seals.fingerprints(definition.fingerprint())
        told: int | str = ""
        while True:
            reply = await self._call(
                "put_schedule",
                definition.id,
                *fields,
                fingerprint=fingerprint,
                earlier=" ".join(earlier),
                next_ms=told,
            )
            if reply[0] == b"ok":
                return
            told = definition.ticks.next_after(reply[1]) or "never"

    async def get(self, schedule_id: str) -> ScheduleInfo | None:
        """As it is now; None where it is not stored. CannotUnseal where its input cannot be opened here."""
        found = await self._patience.wait(self._read(schedule_id))
        return None if found is None else self._opened(found[1])

    def _opened(self, info: ScheduleInfo) -> ScheduleInfo:
        data = self._seals.open_now(info.definition.input, _owner(info.id), "input")
        return replace(info, definition=replace(info.definition, input=data))

    async def _read(self, schedule_id: str) -> tuple[int, ScheduleInfo] | None:
        reply = await self._call("read_schedule", schedule_id)
        return None if reply[0] == b"missing" else (reply[1], _info(schedule_id, replies.named(reply[2])))

    async def list_ids(self) -> Sequence[str]:
        """The ids of all, sorted."""
        return await self._patience.wait(self._list_ids())

    async def _list_ids(self) -> Sequence[str]:
        found: set[str] = set()
        for prefix in self._prefixes:
            cursor = b"0"
            while True:
                command = ("ZSCAN", f"{prefix}schedules", cursor, "COUNT", DUE_AT_ONCE)
                cursor, flat = await self._transport.send(prefix, command)
                found.update(schedule_id.decode() for schedule_id in flat[::2])
                if int(cursor) == 0:
                    break
        return sorted(found)

    async def pause(self, schedule_id: str) -> bool:
        """Let it rest; whether it is stored."""
        return await self._patience.wait(self._is_stored(self._call("pause_schedule", schedule_id)))

    async def _is_stored(self, call: Awaitable[list[Any]]) -> bool:
        return bool((await call)[0] != b"missing")

    async def resume(self, schedule_id: str) -> bool:
        """Let it go on with its first tick after now; whether it is stored."""
        return await self._patience.wait(self._resume(schedule_id))

    async def _resume(self, schedule_id: str) -> bool:
        while True:
            found = await self._read(schedule_id)
            if found is None:
                return False
            now_ms, info = found
            # A clock that was set back does not bring a tick again.
            after_ms = max(now_ms, info.last_ms or 0)
            next_ms = info.definition.ticks.next_after(after_ms)
            reply = await self._call(
                "resume_schedule", schedule_id, revision=info.revision, next_ms="" if next_ms is None else next_ms
            )
            if reply[0] != b"stale":
                return bool(reply[0] == b"ok")

    async def trigger(self, schedule: ScheduleInfo, run_id: str) -> TriggerOutcome:
        """Start a run of it now."""
        new = await self._new_run(schedule, run_id, None)
        call = self._call("trigger_schedule", schedule.id, *row_of(new), revision=schedule.revision)
        outcome: TriggerOutcome = (await self._patience.wait(call))[0].decode()
        if outcome == "skipped":
            await self._seals.discard(new.input, run_id)
        return outcome

    async def delete(self, schedule_id: str) -> None:
        """Delete it."""
        await self._patience.wait(self._call("delete_schedule", schedule_id))

    # -- what workers call ----------------------------------------------------------------------------------------

    async def due(self, partition: int) -> DueSchedules:
        """What is due in a partition."""
        prefix = self._prefixes[partition]
        command = self._scripts.due_schedules.call(prefix, limit=DUE_AT_ONCE, bytes=DUE_BYTES)
        now_ms, next_in_ms, *rows = replies.expect_ok(await self._transport.send(prefix, command, bulk=True))
        schedules: list[ScheduleInfo] = []
        unreadable: list[str] = []
        for name, flat in rows:
            try:
                schedules.append(self._opened(_info(name.decode(), replies.named(flat))))
            except UnicodeDecodeError:
                unreadable.append(f"schedule {name!r}: this is no id")
            except (BackendError, CannotUnseal, InvalidSchedule) as error:
                unreadable.append(str(error))
        return DueSchedules(now_ms, replies.due_in(next_in_ms), schedules, unreadable)

    async def fire(self, schedule: ScheduleInfo, firing: Firing) -> FireOutcome:
        """Fire one tick, once."""
        new: NewRun | None = None
        if not firing.is_missed:
            key = f"{self._namespace} {schedule.id}"
            run_id = run_id_at(firing.tick_ms, key, self._partition_of(schedule.id))
            new = await self._new_run(schedule, run_id, firing.tick_ms)
        reply = await self._call(
            "fire_schedule",
            schedule.id,
            *(() if new is None else row_of(new)),
            revision=schedule.revision,
            meant=firing.meant_ms,
            tick=firing.tick_ms,
            next_ms="" if firing.next_ms is None else firing.next_ms,
        )
        outcome: FireOutcome = reply[0].decode()
        if outcome == "skipped" and new is not None:
            await self._seals.discard(new.input, new.run_id)
        return outcome

    async def _new_run(self, schedule: ScheduleInfo, run_id: str, tick_ms: int | None) -> NewRun:
        definition = schedule.definition
        sealed = await self._seals.seal(definition.input, run_id, "input", within_s=self._patience.timeout_s)
        return NewRun(
            run_id=run_id,
            workflow=definition.workflow,
            version=definition.version,
            queue=definition.queue,
            input=sealed,
            fields={"sc": schedule.id, **definition.limits} | ({} if tick_ms is None else {"sa": tick_ms}),
        )


def _owner(schedule_id: str) -> str:
    """For whom its input is sealed; no run has such an id."""
    return f"schedule {schedule_id}"


def _fields_of(definition: ScheduleDefinition, sealed: bytes, limits: str) -> list[Any]:
    """Of the hash, each with its value; all of them, so that none is left of a definition before."""
    ticks = definition.ticks
    fields: dict[str, Any] = {
        "w": definition.workflow,
        "v": definition.version or "",
        "q": definition.queue,
        "i": sealed,
        "cr": ticks.cron or "",
        "tz": ticks.timezone,
        "ev": ticks.every_ms or "",
        "ov": definition.overlap,
        "cu": definition.catch_up,
        **{name: definition.limits.get(of_run, "") for name, of_run in _LIMITS.items()},
        "lk": limits,
    }
    return [part for item in fields.items() for part in item]


def _info(schedule_id: str, fields: Mapping[bytes, bytes]) -> ScheduleInfo:
    """As stored; InvalidSchedule or BackendError where this version, on this machine, cannot read it."""
    try:
        text = {name.decode(): value.decode() for name, value in fields.items() if name != b"i"}
        check_policies(text["ov"], text["cu"])
        definition = ScheduleDefinition(
            id=schedule_id,
            workflow=text["w"],
            version=text["v"] or None,
            queue=text["q"],
            input=fields[b"i"],
            ticks=Ticks(
                cron=text["cr"] or None, timezone=text["tz"], every_ms=_number(text, "ev") if text["ev"] else None
            ),
            overlap=text["ov"],  # type: ignore[arg-type]  # checked above
            catch_up=text["cu"],  # type: ignore[arg-type]  # the same
            limits={of_run: text[name] for name, of_run in _LIMITS.items() if text.get(name)},
        )
        return ScheduleInfo(
            definition=definition,
            revision=_number(text, "rv"),
            is_paused="pz" in text,
            created_at=from_ms(_number(text, "c")),
            next_ms=_number(text, "n") if text["n"] else None,
            last_ms=_number(text, "lt") if "lt" in text else None,
            last_outcome=text.get("lw"),  # type: ignore[arg-type]  # the scripts write no other word
            last_run_id=text.get("lr"),
        )
    except KeyError as error:
        raise _damaged(schedule_id, f"field {error} is missing") from None
    except InvalidSchedule as error:
        msg = f"schedule {schedule_id!r}: {error}"
        raise InvalidSchedule(msg) from None
    except ValueError as error:
        raise _damaged(schedule_id, str(error)) from None


def _number(text: Mapping[str, str], name: str) -> int:
    """A count, or an instant that a calendar has."""
    if _NUMBER.fullmatch(text[name]) is None or int(text[name]) > _LAST_MS:
        msg = f"field {name!r} is no number, or too large a one"
        raise ValueError(msg)
    return int(text[name])


def _damaged(schedule_id: str, why: str) -> BackendError:
    msg = f"schedule {schedule_id!r} is not as redisflow stores it: {why}. Delete it, and create it again"
    return BackendError(msg)
