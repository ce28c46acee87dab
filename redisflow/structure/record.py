"""A run's hash by itself: whether it can be read, agrees with itself, and has a record without a gap.

What is wrong here cannot be derived from anything, so it is reported and left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from redisflow.structure.breach import Breach, Rule
from redisflow.structure.snapshot import STATUSES, Snapshot, StoredRun

_INSTANTS = ("c", "a", "t", "d", "dl", "av", "xp")
_INSTANT = re.compile(r"[0-9]{1,15}")
_FENCE = re.compile(r"[0-9]+:.+", re.DOTALL)
_MARK = re.compile(r"([0-9]+):([0-9]+)")
_VERDICT = re.compile(r"(failed|canceled) [a-z]+ \d*")
# What a run keeps only for as long as it has not ended.
_UNTIL_ITS_END = ("d", "p", "ls", "pz", "vd")


def check_hash(space: Snapshot, run: StoredRun) -> Iterator[Breach]:
    """Everything that is wrong with a run's hash; nothing else can be said of one that cannot be read."""
    key = f"{space.prefix}run:{run.run_id}"
    for problem in _problems(run):
        yield Breach(Rule.DAMAGE, key, run.run_id, problem)
    if f"run:{run.run_id}" in space.torn:
        yield Breach(Rule.DAMAGE, key, run.run_id, "keys that it needs are of a wrong type")


def check_record(space: Snapshot, run: StoredRun) -> Iterator[Breach]:
    """Whether all its records are there, and as long as its mark says; of a run whose records were all looked at."""
    key = f"{space.prefix}run:{run.run_id}"
    mark = _MARK.fullmatch(run.fields.get("h", ""))
    if mark is None:
        yield Breach(Rule.DAMAGE, key, run.run_id, f"its mark (field h: records and bytes) is {run.fields.get('h')!r}")
        return
    count, size = int(mark[1]), int(mark[2])
    numbers = {name for name in run.lengths if name != "i"}
    if len(numbers) != count or any(str(number) not in numbers for number in range(count)):
        wanted = {str(number) for number in range(count)}
        lost, more = sorted(wanted - numbers, key=int), sorted(numbers - wanted, key=int)
        told = [f"{what} {', '.join(found[:5])}" for what, found in (("lacks", lost), ("has", more)) if found]
        yield Breach(Rule.DAMAGE, key, run.run_id, f"of {count} records it {' and '.join(told)}")
    elif size != (total := sum(run.lengths.values())):
        yield Breach(Rule.DAMAGE, key, run.run_id, f"input and records have {total} bytes, its mark says {size}")


def _problems(run: StoredRun) -> Iterator[str]:
    fields = run.fields
    if run.kind != "hash":
        yield f"its key is a {run.kind}"
        return
    if run.status not in STATUSES:
        yield f"its status is {run.status!r}"
    if "w" not in fields or "c" not in fields:
        yield f"it has no {'workflow' if 'w' not in fields else 'time of creation'}"
    for name in _INSTANTS:
        if name in fields and not _INSTANT.fullmatch(fields[name]):
            yield f"{name} is {fields[name]!r}, not an instant"
    if "f" in fields and not _FENCE.fullmatch(fields["f"]):
        yield f"its fence is {fields['f']!r}"
    yield from _of_its_status(run)
    if "vd" in fields:
        yield from _verdict_problems(run)


def _of_its_status(run: StoredRun) -> Iterator[str]:
    fields = run.fields
    if run.is_terminal:
        if "t" not in fields:
            yield f"it is {run.status} without its end"
        kept = [name for name in _UNTIL_ITS_END if name in fields]
        if kept:
            yield f"it is {run.status} and keeps {', '.join(kept)}"
    else:
        if ("pz" in fields) != (run.reason == "paused"):
            yield f"it is {run.status}, and what it was before its pause is {fields.get('pz')!r}"
        if "ls" in fields and run.reason != "limited":
            yield f"it is {run.status}, and remembers a line"
        if "p" in fields and run.word != "running":
            yield f"it is {run.status}, and shows progress of nobody"
    # A finished run keeps the name of its last entry: to delete the field would be one command more for each run.
    if "e" in fields and run.word in {"waiting", "canceled"}:
        yield f"it is {run.status}, and names an entry"
    if run.reason == "limited" and "ls" not in fields and "@" not in fields.get("lk", ""):
        yield "it waits in no line, and its limits are decided here"
    if run.reason == "overlap" and "sc" not in fields:
        yield "it waits behind others of its schedule, and has none"


def _verdict_problems(run: StoredRun) -> Iterator[str]:
    fields = run.fields
    if "cp" not in fields:
        yield "its verdict waits for nothing"
    if fields.keys() & {"dl", "ca"}:
        yield "its verdict is not carried out, and it has a deadline or the cause of another"
    if not _VERDICT.fullmatch(fields["vd"]):
        yield f"its verdict is {fields['vd']!r}"
