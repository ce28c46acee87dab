"""What must hold of a run between one call and the next: invariants S1 to S9, S12, S14 to S22 of the reliability list.

Each is checked on the true order of execution, from the run's hash before and after a call that changed it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from redisflow.records import (
    AttemptFailed,
    ChildAsked,
    ChildEnded,
    Record,
    SignalReceived,
    StepFailed,
    StepSucceeded,
    TimerAsked,
    TimerFired,
    decode_record,
)
from redisflow.run_id import partition_of
from redisflow.run_views import numbered_live_records
from tests.faults.simulation.mirror import Hash
from tests.faults.simulation.real_server import Execution

TERMINAL = {b"succeeded", b"failed", b"canceled"}
# What a holder calls, with the fence behind the run's id.
FENCED = frozenset(
    {
        "commit_run",
        "park_run",
        "finish_run",
        "continue_run",
        "release_run",
        "shelve_run",
        "note_progress",
        "emit_events",
    }
)
# What takes a run from its holder.
TAKING = frozenset({"reclaim_runs", "reconcile_runs", "repair_run", "pause_run", "cancel_run", "wake_runs", "end_kids"})
_ENDINGS = ("s", "o", "er", "ca", "t")


@dataclass
class RunState:
    """What is known of one run."""

    run_id: str
    fields: Hash = field(default_factory=dict)
    live: Sequence[Record] = ()
    fences: list[bytes] = field(default_factory=list)
    """Those that claims gave."""
    taken_by: dict[bytes, str] = field(default_factory=dict)
    """By the fence of a holder: the call by which it lost the run."""
    began_ms: int | None = None
    """When it was first taken up: a rate counts it then, and not again."""

    @property
    def status(self) -> str:
        return self.fields.get("s", b"").decode()


class RunInvariants:
    """Of all runs. `problem` is called with what does not hold."""

    def __init__(self, problem: Callable[[str], None], *, crash_limit: int) -> None:
        self.runs: dict[str, RunState] = {}
        self.gone: dict[str, RunState] = {}
        self.checked: Counter[str] = Counter()
        self.clock_jumped = False
        self.lost_data = False
        self.leases_may_end = True
        """Whether something happens in which a worker cannot renew its leases, or is gone."""
        self._problem = problem
        self._crash_limit = crash_limit
        self._ticks: dict[tuple[bytes, bytes], str] = {}
        self._delivered: dict[str, tuple[int, int]] = {}

    def look(self, run_id: str, after: Hash, execution: Execution, now_ms: int) -> None:
        """A call has changed this run."""
        state = self.runs.get(run_id)
        if state is None:
            state = self.runs[run_id] = RunState(run_id)
        before = state.fields
        name = execution.name
        state.fields = after
        if "a" not in before and "a" in after and "ct" not in after:
            # A fork has begun with its record: no rate counts it.
            state.began_ms = int(after["a"]) if before else 0
        if not after:
            self._gone(state, before, name)
            return
        if self.lost_data:
            # What follows is about one history; this one has been cut. The end is checked all the same.
            state.live = _live(after)
            return
        self._check_end(run_id, before, after, name)
        self._check_fence(state, before, after, execution)
        self._check_record(state, before, after, name, now_ms)
        if not before:
            self._check_tick(run_id, after)
        self._check_time(run_id, before, after, name, now_ms)
        self._check_first_delivery(run_id, before, after, execution)
        crashes = int(after.get("x", b"0"))
        self._expect("S21", crashes < self._crash_limit or after["s"] == b"failed", run_id, f"{crashes} crashes")
        if before and name != "continue_run":
            self._expect("S22", before["i"] == after["i"], run_id, "its input has changed")

    def states_in(self, keys: Iterable[str]) -> dict[str, RunState]:
        """Copies of what is known of the runs among these keys."""
        names = [key.partition("}:run:")[2] for key in keys]
        return {name: replace(self.runs[name]) for name in names if name in self.runs}

    def lose(self, partitions: set[int], runs: dict[str, RunState]) -> None:
        """S23: what was acknowledged meanwhile is lost there; each run is what it once was, or is no more."""
        self.lost_data = True
        kept = {run_id: state for run_id, state in self.runs.items() if partition_of(run_id) not in partitions}
        self.runs = {**kept, **runs}
        self.checked["S23"] += len(runs)

    def _expect(self, invariant: str, holds: object, run_id: str, what: str) -> None:
        self.checked[invariant] += 1
        if not holds:
            self._problem(f"{invariant} {run_id}: {what}")

    def _gone(self, state: RunState, before: Hash, name: str) -> None:
        self.gone[state.run_id] = state
        self.runs.pop(state.run_id, None)
        by_hand = name in {"delete_run", "purge_runs"} or self.lost_data
        self._expect("S10", by_hand and (self.lost_data or before["s"] in TERMINAL), state.run_id, f"gone by {name}")
        state.fields = before

    def _check_end(self, run_id: str, before: Hash, after: Hash, name: str) -> None:
        if not before or before["s"] not in TERMINAL:
            return
        if name == "retry_run":
            self._expect("S1", before["s"] == b"failed", run_id, f"retried, and it was {before['s']!r}")
            return
        for one in _ENDINGS:
            same = before.get(one) == after.get(one)
            self._expect(
                "S1", same, run_id, f"ended, then {name} made {one} {after.get(one)!r}, not {before.get(one)!r}"
            )
        self._expect("S1", before["h"] == after["h"], run_id, f"ended, then {name} changed its record")

    def _check_fence(self, state: RunState, before: Hash, after: Hash, execution: Execution) -> None:
        old, new = before.get("f", b""), after.get("f", b"")
        run_id, name = state.run_id, execution.name
        if old != new:
            old_count, new_count = (int(fence.partition(b":")[0] or 0) for fence in (old, new))
            if name == "claim_runs" and after["s"] == b"running":
                self._expect("S5", new_count == old_count + 1, run_id, f"claimed: fence {old!r} became {new!r}")
                self._expect("S5", new not in state.fences, run_id, f"fence {new!r} was given before")
                state.fences.append(new)
            else:
                self._expect("S5", new_count == old_count, run_id, f"{name}: fence {old!r} became {new!r}")
            if name == "reclaim_runs" and before.get("s") == b"running":
                self._expect("S6", self.leases_may_end, run_id, "its worker is well, and it was given to another")
            if old in state.fences:
                state.taken_by.setdefault(old, name)
        elif before and before["s"] == b"running" and after["s"] != b"running":
            state.taken_by.setdefault(old, name)
            self._expect("S5", name not in TAKING, run_id, f"{name} has left its holder the fence {old!r}")
        if name in FENCED and before:
            given = _fence_given(execution.arguments, run_id.encode())
            changed = before["h"] != after["h"] or before["s"] != after["s"]
            if given is not None and changed and given != old:
                self._expect("S5", False, run_id, f"{name} with fence {given!r} was let in, its fence is {old!r}")

    def _check_record(self, state: RunState, before: Hash, after: Hash, name: str, now_ms: int) -> None:
        if before.get("h") == after["h"] and before.get("ct") == after.get("ct"):
            return
        run_id = state.run_id
        if before and before.get("ct") == after.get("ct"):
            kept = all(after.get(number) == data for number, data in before.items() if number.isdigit())
            self._expect("S3", kept, run_id, f"{name} has changed a record that was there")
        elif before:
            self._expect("S3", name == "continue_run", run_id, f"{name} began its record anew")
        known, state.live = state.live, _live(after)
        results = Counter(record.call.key for record in state.live if isinstance(record, _RESULTS))
        self._expect("S3", all(count == 1 for count in results.values()), run_id, f"two results: {results}")
        attempts: Counter[str] = Counter()
        heard: Counter[bytes] = Counter()
        dues: dict[str, int] = {}
        for record in state.live:
            if isinstance(record, AttemptFailed | StepSucceeded | StepFailed):
                attempts[record.call.key] += 1
                fine = record.attempt == attempts[record.call.key]
                self._expect("S8", fine, run_id, f"{record.call.key}: attempt {record.attempt} has a gap before it")
            elif isinstance(record, TimerAsked):
                dues[record.call.key] = record.due_at_ms
            elif isinstance(record, TimerFired) and record not in known and record.call.key in dues:
                early = now_ms < dues[record.call.key] and not self.clock_jumped
                self._expect("S14", not early, run_id, f"{record.call.key} fired before {dues[record.call.key]}")
            elif isinstance(record, SignalReceived) and b" #" in record.payload:
                heard[record.payload] += 1
        self._expect("S16", all(count == 1 for count in heard.values()), run_id, f"a signal came twice: {heard}")
        children = {record.call.key: record.run_id for record in state.live if isinstance(record, ChildAsked)}
        for record in state.live:
            if isinstance(record, ChildEnded) and record not in known:
                self._check_child(run_id, children.get(record.call.key, ""), record)

    def _check_child(self, run_id: str, child_id: str, record: ChildEnded) -> None:
        child = self.runs.get(child_id) or self.gone.get(child_id)
        if record.cause == "lost":
            self._expect(
                "S17", child_id in self.gone, run_id, f"child {child_id} was told as lost, and was not deleted"
            )
        if child is None or not child.fields:
            return  # it was prevented: it never began
        status = child.fields["s"].decode()
        self._expect(
            "S17", record.status == status, run_id, f"child {child_id} is {status}, it was told {record.status}"
        )
        if status == "succeeded":
            same = record.payload == child.fields.get("o", b"")
            self._expect("S17", same, run_id, f"the result of child {child_id} is another one")

    def _check_tick(self, run_id: str, after: Hash) -> None:
        if "sc" in after and "sa" in after:
            first = self._ticks.setdefault((after["sc"], after["sa"]), run_id)
            self._expect("S15", first == run_id, run_id, f"tick {after['sa']!r} has run {first} as well")

    def _check_time(self, run_id: str, before: Hash, after: Hash, name: str, now_ms: int) -> None:
        if not before or before["s"] == after["s"]:
            return
        timed = before["s"] in {b"waiting:start", b"waiting:timer", b"waiting:retry"}
        if timed and name in {"wake_runs", "claim_runs"} and "d" in before and not self.clock_jumped:
            self._expect("S14", int(before["d"]) <= now_ms, run_id, f"{name} woke it before {before['d']!r}")
        if after.get("ca") == b"deadline" and "dl" in after and not self.clock_jumped:
            self._expect("S14", int(after["dl"]) <= now_ms, run_id, "its deadline came early")

    def _check_first_delivery(self, run_id: str, before: Hash, after: Hash, execution: Execution) -> None:
        if execution.name != "claim_runs" or "a" in before or "a" not in after or "lk" in after or "e" not in before:
            return
        lane, _, entry = before["e"].decode().partition(":")
        place = f"{execution.prefix}{after.get('q', b'default').decode()}:{lane}"
        ms, _, number = entry.partition("-")
        this = (int(ms), int(number))
        self._expect("S19", self._delivered.get(place, (0, 0)) < this, run_id, f"entry {entry} came after a later one")
        self._delivered[place] = this


_RESULTS = (StepSucceeded, StepFailed, TimerFired, SignalReceived, ChildEnded)


def _live(fields: Hash) -> list[Record]:
    base_ms = int(fields.get("a") or fields["c"])
    count = int(fields["h"].partition(b":")[0])
    records = [decode_record(fields[str(number)], base_ms) for number in range(count) if str(number) in fields]
    return [record for _, record in numbered_live_records(records)]


def _fence_given(arguments: Sequence[Any], run_id: bytes) -> bytes | None:
    for place, word in enumerate(arguments[:-1]):
        if word == run_id and b":" in arguments[place + 1]:
            found: bytes = arguments[place + 1]
            return found
    return None
