"""Limits, rates and fair keys: nobody has more than there is, and nobody waits where there is room.

Where a limit is decided in another partition than its run's, a permit stands for the run there: `<run id>/<round>:
<count>:<period>`. What permits and runs know of each other may be on its way; `check_permits` is for when nothing is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from redisflow.structure.breach import Breach, Remedy, Rule
from redisflow.structure.snapshot import Snapshot, StoredRun

GIVEN: Final = 9_000_000_000_000_000
"""The score of a slot of a rate that was given to a run that has not used it yet."""
WINDOW: Final = 4
"""Runs of a fair key that stand in the streams at once."""


def is_permit(holder: str) -> bool:
    """Whether this stands for a run of any partition."""
    return "/" in holder


def run_of(holder: str) -> str:
    """The id of the run that holds a slot, or for which a permit does, or that used one before it began anew."""
    return holder.partition("/")[0].partition("~")[0]


def limits_here(space: Snapshot, run: StoredRun) -> Iterator[tuple[str, int, int]]:
    """Hash, count and period of each limit of a run that is decided in this partition."""
    for name, count, period, home in run.limits:
        if home in ("", space.partition):
            yield name, count, period


# -- of a run ---------------------------------------------------------------------------------------------------------


def check_slots(space: Snapshot, run: StoredRun) -> Iterator[Breach]:
    """A run that runs holds its slots; a new one of a fair key stands in its window."""
    if run.word == "running" and "lk" in run.fields:
        for name, _, period in limits_here(space, run):
            holders = space.sets.get(f"limit:{name}", {})
            if not period and run.run_id not in holders and not any(run_of(one) == run.run_id for one in holders):
                yield _breach(space, f"limit:{name}", run.run_id, "runs without a slot", Remedy("rebuild"))
    is_new = run.word == "pending" and "fp" in run.fields and "f" not in run.fields
    if is_new and not run.fields.get("e", "w").startswith("w"):
        name = f"fair:{run.fields['fp']}"
        if space.score(name, run.run_id) is None:
            yield _breach(space, name, run.run_id, "stands in the stream past the window", Remedy("rebuild"))


# -- of a key ---------------------------------------------------------------------------------------------------------


def check_limit(space: Snapshot, name: str) -> Iterator[Breach]:
    """Who holds a slot of a limit, or has used one of a rate."""
    holders, hash_ = space.sets.get(name, {}), name.partition(":")[2]
    bounds = [
        (count, period)
        for run in _runs(space, map(run_of, holders))
        for limit, count, period in limits_here(space, run)
        if limit == hash_
    ]
    is_rate = any(period for _, period in bounds) or name in space.expiries or GIVEN in holders.values()
    for holder, score in holders.items():
        run = space.runs.get(holder)
        if is_permit(holder) or (run is not None and not run.is_readable):
            continue
        if is_rate:
            if score == GIVEN and not (run and run.word == "pending" and "a" not in run.fields):
                yield _freed(space, name, holder, "has a slot of a rate that it never used")
        elif run is None:
            yield Breach(Rule.STRANGER, space.prefix + name, holder, f"{holder} is not stored", _free(name, holder))
        elif run.word not in ("running", "pending"):
            yield _freed(space, name, holder, "does not run, and holds a slot")
    is_known = all(run_of(holder) in space.runs for holder in holders)
    if not bounds or not is_known or any(map(is_permit, holders)):
        # That a run holds a permit may be said twice, the second time when it has given it back: there is less room.
        return
    most = max(count for count, _ in bounds)
    period = max(period for _, period in bounds)
    taken = sum(score > space.now_ms - period for score in holders.values()) if period else space.size(name)
    if taken > most:
        yield _breach(space, name, "", f"{taken} have a slot, of {most}")


def check_line(space: Snapshot, name: str) -> Iterator[Breach]:
    """Who waits for a limit or for their turn with a fair key: a run that wants to, and only while there is no room."""
    waiting, hash_ = space.sets.get(name, {}), name.partition(":")[2]
    for run_id in waiting:
        run = space.runs.get(run_id)
        if is_permit(run_id) or (run is not None and not run.is_readable):
            continue
        if run is None:
            yield Breach(Rule.STRANGER, space.prefix + name, run_id, f"{run_id} is not stored", _free(name, run_id))
        elif run.reason != "limited" or run.fields.get("ls") != hash_:
            yield Breach(
                *(Rule.STATUS, space.prefix + name, run_id, f"{run_id} ({run.status}) waits elsewhere, or does not"),
                _free(name, run_id),
            )
    timer = space.score("delayed", f"line:{hash_}")
    first = min(waiting, key=lambda member: (waiting[member], member), default=None)
    if first is None or timer is not None:
        return
    problem = _room(space, hash_, first)
    if problem:
        yield _breach(space, name, "", problem, Remedy("move", name))


def _room(space: Snapshot, hash_: str, first: str) -> str | None:
    """Why whoever is first in a line need not wait; None where it must. Where room comes with time, a timer says so."""
    run = space.runs.get(first)
    if run is not None and run.fields.get("fp") == hash_:
        inside = space.size(f"fair:{hash_}")
        return f"runs wait, and their window holds {inside} of {WINDOW}" if inside < WINDOW else None
    if is_permit(first):
        count, period = (int(part) for part in first.split(":")[-2:])
    else:
        found = [] if run is None else [limit for limit in run.limits if limit[0] == hash_]
        if not found:
            return None
        count, period = found[0][1:3]
    if period:
        return "runs wait for a rate, and no timer will wake them"
    held = space.size(f"limit:{hash_}")
    return f"runs wait, and {held} of {count} slots are held" if held < count else None


def check_window(space: Snapshot, name: str) -> Iterator[Breach]:
    """The few runs of a fair key that stand in the streams."""
    if space.size(name) > WINDOW:
        yield _breach(space, name, "", f"{space.size(name)} stand in a window of {WINDOW}")
    for run_id in space.sets.get(name, {}):
        run = space.runs.get(run_id)
        if run is None:
            yield Breach(Rule.STRANGER, space.prefix + name, run_id, f"{run_id} is not stored", _free(name, run_id))
        elif run.is_readable and (run.word != "pending" or "a" in run.fields):
            yield _freed(space, name, run_id, f"is {run.status}, and in the window")


def _runs(space: Snapshot, run_ids: Iterable[str]) -> Iterator[StoredRun]:
    return (space.runs[run_id] for run_id in run_ids if run_id in space.runs)


def _free(name: str, member: str) -> Remedy:
    return Remedy("free", name, member)


def _freed(space: Snapshot, name: str, run_id: str, what: str) -> Breach:
    return _breach(space, name, run_id, what, _free(name, run_id))


def _breach(space: Snapshot, name: str, run_id: str, what: str, remedy: Remedy | None = None) -> Breach:
    told = f"{run_id} {what}" if run_id else what
    return Breach(Rule.LINE, space.prefix + name, run_id, told, remedy)


# -- of all runs: for tests, which lose nothing that was counted ------------------------------------------------------


def check_rates(space: Snapshot) -> Iterator[Breach]:
    """S18, by what runs remember: no more of them run at once, or began within a period, than their limits allow."""
    counts: dict[tuple[str, int], int] = {}
    under: dict[tuple[str, int], list[StoredRun]] = {}
    for run in space.runs.values():
        for name, count, period in limits_here(space, run):
            counts[name, period] = max(count, counts.get((name, period), 0))
            under.setdefault((name, period), []).append(run)
    for (name, period), runs in under.items():
        count = counts[name, period]
        running = sum(run.word == "running" for run in runs)
        if not period and running > count:
            yield _breach(space, f"limit:{name}", "", f"{running} runs run, of {count}")
        began = _began(space, name, runs) if period else []
        for place, at in enumerate(began[count:]):
            if at - began[place] < period:
                yield _breach(space, f"limit:{name}", "", f"{count + 1} began in {at - began[place]} ms, of {period}")


def _began(space: Snapshot, name: str, runs: Iterable[StoredRun]) -> list[int]:
    """When runs under a rate began, also before they began anew: what they used then stands beside their ids."""
    before = [int(score) for holder, score in space.sets.get(f"limit:{name}", {}).items() if "~" in holder]
    return sorted([*before, *(int(run.fields["a"]) for run in runs if "a" in run.fields)])


def check_permits(runs: Mapping[str, StoredRun], sets: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """What is wrong where all messages have arrived: each permit is one that its run has, or has asked for."""
    wanted: dict[str, set[str]] = {}
    asked: set[str] = set()
    for run_id, run in runs.items():
        round_, _, given = run.fields.get("pm", "").partition(" ")
        if not given:
            continue
        for name, count, period, _ in run.limits[: int(given)]:
            wanted.setdefault(name, set()).add(f"{run_id}/{round_}:{count}:{period}")
        if run.reason == "limited":
            asked |= {f"{run_id}/{round_}:{count}:{period}" for _, count, period, _ in run.limits}
    for key, members in sets.items():
        kind, _, name = key.partition(":")
        permits = {member for member in members if is_permit(member)}
        if kind == "blocked" and permits - asked:
            yield f"{key} has {permits - asked}, which nobody has asked for"
        used = {member for member, score in members.items() if not member.endswith(":0") and score < GIVEN}
        if kind == "limit" and permits - used - wanted.get(name, set()):
            yield f"{key} has {permits - used - wanted.get(name, set())}, which nobody has"
