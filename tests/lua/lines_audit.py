"""What must be true of limits, rates and fair keys after each script: S18, and that nobody waits where there is room.

`runs` are the run hashes, `sets` the sorted sets, by the names of their keys without the prefix. Where a limit is
decided in another partition than its run's, a permit stands for the run: `<run id>/<round>:<count>:<period>`. What
permits and runs know of each other may be on its way; `audit_permits` is for when nothing is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

GIVEN = 9_000_000_000_000_000
WINDOW = 4
HERE = r"(\w+):(\d+):(\d+)(?:@0)?(?= |$)"

Runs = Mapping[str, Mapping[str, bytes]]
Sets = Mapping[str, Mapping[str, int]]


def audit_lines(runs: Runs, sets: Sets, now: int) -> Iterator[str]:
    """Everything that is wrong."""
    counts: dict[tuple[str, int], int] = {}
    for fields in runs.values():
        for name, count, period in limits_of(fields):
            counts[name, period] = max(count, counts.get((name, period), 0))
    for (name, period), count in counts.items():
        holders = sets.get(f"limit:{name}", {})
        waiting = sets.get(f"blocked:{name}", {})
        if period:
            yield from _audit_rate(runs, name, count, period, holders, now)
            if waiting and f"line:{name}" not in sets.get("delayed", {}):
                yield f"rate {name}: {sorted(waiting)} wait, and no timer will wake them"
        else:
            yield from _audit_concurrency(runs, name, count, holders)
            if waiting and len(holders) < count:
                yield f"limit {name}: {sorted(waiting)} wait, and only {len(holders)} of {count} slots are held"
    yield from _audit_waiting(runs, sets)
    yield from _audit_fair(runs, sets)


def limits_of(fields: Mapping[str, bytes]) -> list[tuple[str, int, int]]:
    """Hash, count and period of each limit of a run that is decided in this partition, number 0."""
    text = fields.get("lk", b"").decode()
    return [(name, int(count), int(period)) for name, count, period in re.findall(HERE, text)]


def is_permit(holder: str) -> bool:
    """Whether this stands for a run of any partition."""
    return "/" in holder


def run_of(holder: str) -> str:
    """The id of the run that holds a slot, or for which a permit does."""
    return holder.partition("/")[0]


def audit_permits(runs: Runs, sets: Sets) -> Iterator[str]:
    """What is wrong where all messages have arrived: each permit is one that its run has, or has asked for."""
    wanted: dict[str, set[str]] = {}
    asked: set[str] = set()
    for run_id, fields in runs.items():
        round_, _, given = fields.get("pm", b"").decode().partition(" ")
        if not given:
            continue
        limits = limits_of(fields)
        for name, count, period in limits[: int(given)]:
            wanted.setdefault(name, set()).add(f"{run_id}/{round_}:{count}:{period}")
        if _status(fields) == "waiting:limited":
            asked |= {f"{run_id}/{round_}:{count}:{period}" for _, count, period in limits}
    for key, members in sets.items():
        kind, _, name = key.partition(":")
        permits = {member for member in members if is_permit(member)}
        if kind == "blocked" and permits - asked:
            yield f"{key} has {permits - asked}, which nobody has asked for"
        used = {member for member, score in members.items() if not member.endswith(":0") and score < GIVEN}
        if kind == "limit" and permits - used - wanted.get(name, set()):
            yield f"{key} has {permits - used - wanted.get(name, set())}, which nobody has"


def _status(fields: Mapping[str, bytes]) -> str:
    return fields["s"].decode()


def _audit_concurrency(runs: Runs, name: str, count: int, holders: Mapping[str, int]) -> Iterator[str]:
    running = {r for r, fields in runs.items() if _status(fields) == "running" and _has(fields, name)}
    if len(running) > count:
        yield f"S18: {len(running)} runs are running under limit {name} of {count}"
    # That a run holds a permit may be said twice, the second time when it has given it back: then there is less room.
    if len(holders) > count and not any(map(is_permit, holders)):
        yield f"limit {name} of {count} is held by {sorted(holders)}"
    without = running - {run_of(holder) for holder in holders}
    if without:
        yield f"limit {name}: {without} run without a slot"
    for run_id in holders:
        if is_permit(run_id):
            continue
        if run_id not in runs or _status(runs[run_id]) not in ("running", "pending"):
            yield f"limit {name}: {run_id} does not run, and holds a slot"


def _audit_rate(runs: Runs, name: str, count: int, period: int, holders: Mapping[str, int], now: int) -> Iterator[str]:
    for run_id, score in holders.items():
        if score == GIVEN and not is_permit(run_id) and (_status(runs[run_id]) != "pending" or "a" in runs[run_id]):
            yield f"rate {name}: {run_id} is {_status(runs[run_id])} and has a slot that it never used"
    first_claims = sorted(int(fields["a"]) for fields in runs.values() if "a" in fields and _has(fields, name))
    for place, at in enumerate(first_claims[count:]):
        if at - first_claims[place] < period:
            yield f"S18: {count + 1} runs began in {at - first_claims[place]} ms, rate {name} is {count} in {period}"
    if sum(score > now - period for score in holders.values()) > count and not any(map(is_permit, holders)):
        yield f"rate {name}: {len(holders)} slots are taken of {count}"


def _audit_waiting(runs: Runs, sets: Sets) -> Iterator[str]:
    places: dict[str, list[str]] = {}
    for key, members in sets.items():
        if key.startswith("blocked:"):
            for run_id in (member for member in members if not is_permit(member)):
                places.setdefault(run_id, []).append(key[8:])
    for run_id, fields in runs.items():
        waits = _status(fields) == "waiting:limited"
        wanted = [fields["ls"].decode()] if waits and "ls" in fields else []
        if waits and not wanted and b"@" not in fields.get("lk", b""):
            yield f"{run_id} waits in no line, and its limits are decided here"
        if places.get(run_id, []) != wanted:
            yield f"{run_id} ({_status(fields)}) stands in the lines {places.get(run_id)} instead of {wanted}"
        if not waits and "ls" in fields:
            yield f"{run_id} ({_status(fields)}) remembers a line"


def _audit_fair(runs: Runs, sets: Sets) -> Iterator[str]:
    names = {fields["fp"].decode() for fields in runs.values() if "fp" in fields}
    for name in names:
        inside = sets.get(f"fair:{name}", {}).keys()
        if len(inside) > WINDOW:
            yield f"fair key {name} has {sorted(inside)} in its window"
        if len(inside) < WINDOW and sets.get(f"blocked:{name}"):
            yield f"fair key {name}: runs wait, and its window holds {sorted(inside)}"
        for run_id in inside:
            if _status(runs[run_id]) != "pending" or "a" in runs[run_id]:
                yield f"fair key {name}: {run_id} is {_status(runs[run_id])} and in the window"
        new = {r for r, f in runs.items() if f.get("fp") == name.encode() and _status(f) == "pending" and "f" not in f}
        new -= {r for r in new if runs[r]["e"].startswith(b"w")}
        if new - inside:
            yield f"fair key {name}: {sorted(new - inside)} stand in the stream past the window"


def _has(fields: Mapping[str, bytes], name: str) -> bool:
    return any(name == found for found, _, _ in limits_of(fields))
