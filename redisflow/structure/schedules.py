"""Schedules are listed when they say, and the runs that wait behind another have their turn when it ends."""

from __future__ import annotations

import re
from collections.abc import Iterator

from redisflow.structure.breach import Breach, Remedy, Rule
from redisflow.structure.snapshot import Snapshot

NEVER = 2**53 - 1
_NUMBERS = ("n", "rv", "c", "ev", "lt")
_NUMBER = re.compile(r"[0-9]{1,15}")
# Those that ended, or were deleted, while they waited are passed over later; a paused one keeps its place.
_PASSED_OVER = ("overlap", "paused", "start")


def check_schedule(space: Snapshot, name: str) -> Iterator[Breach]:
    """When it is looked at next."""
    schedule, fields = name.partition(":")[2], space.hashes.get(name, {})
    if "n" not in fields:
        yield Breach(Rule.DAMAGE, space.prefix + name, "", "it has no next tick")
        return
    wrong = [field for field in _NUMBERS if fields.get(field) and not _NUMBER.fullmatch(fields[field])]
    if wrong:
        what = f"no number is in its field {' and in '.join(wrong)}, so it cannot be fired"
        yield Breach(Rule.DAMAGE, space.prefix + name, "", what)
        return
    wanted = NEVER if "pz" in fields or not fields["n"] else int(fields["n"])
    found = space.score("schedules", schedule)
    # One that was told of the end of a run is listed at 0 until it is looked at.
    if found not in (0, wanted):
        told = "not listed" if found is None else f"listed at {found:.0f}"
        what = f"it is {told}, its next tick is at {wanted}"
        yield Breach(Rule.LINE, f"{space.prefix}schedules", "", f"{name}: {what}", Remedy("schedule", name))


def check_schedules(space: Snapshot, name: str) -> Iterator[Breach]:
    """Who is listed there."""
    for schedule in space.sets.get(name, {}):
        if f"schedule:{schedule}" not in space.kinds:
            what = f"schedule {schedule} is not stored"
            yield Breach(Rule.STRANGER, space.prefix + name, "", what, Remedy("unlist", name, schedule))


def check_queue(space: Snapshot, name: str) -> Iterator[Breach]:
    """Who waits for the run before."""
    schedule = name.partition(":")[2]
    key = f"schedule:{schedule}"
    for run_id in space.lists.get(name, []):
        run = space.runs.get(run_id)
        if run is not None and run.is_readable and not run.is_terminal and run.reason not in _PASSED_OVER:
            what = f"{run_id} is {run.status}"
            yield Breach(Rule.LINE, space.prefix + name, run_id, what)
    if key not in space.kinds:
        what = f"schedule {schedule} is not stored"
        yield Breach(Rule.STRANGER, space.prefix + name, "", what, Remedy("forget", name))
        return
    on = space.runs.get(space.hashes.get(key, {}).get("on", ""))
    if (on is None or on.is_terminal) and space.score("schedules", schedule) != 0:
        what = "they wait for a run that has ended"
        yield Breach(Rule.LINE, space.prefix + name, "", what, Remedy("schedule", key, "turn"))
