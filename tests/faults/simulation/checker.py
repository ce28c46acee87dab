"""Looks at everything: the run invariants, the structure of the key space after each call, and the bodies."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from redisflow.records import AttemptFailed, StepFailed, StepSucceeded
from redisflow.structure import check
from tests.faults.simulation.invariants import TERMINAL, RunInvariants
from tests.faults.simulation.mirror import Mirror, as_hash
from tests.faults.simulation.snapshot import snapshot_from

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.simulation.loop import Process
    from tests.faults.simulation.real_server import Execution

# Keys of workers and of passing concern: what they hold is no part of the structure of runs.
_PASSING = ("turn:", "worker", "bell:", "alarm", "upkeep", "idem:")
PROBLEMS_AT_MOST = 20


def audit_partition(mirror: Mirror, prefix: str, now_ms: int) -> list[str]:
    """What is wrong with the structure of a partition."""
    return [str(breach) for breach in check(snapshot_from(mirror, prefix, now_ms))]


class Checker:
    """Of one simulation."""

    def __init__(self, namespace: str, clock_ms: Callable[[], int], *, crash_limit: int) -> None:
        self.mirror = Mirror()
        self.problems: list[str] = []
        self.runs = RunInvariants(self.problem, crash_limit=crash_limit)
        self.checked: Counter[str] = self.runs.checked
        self.told: Callable[[str], None] = lambda _: None
        self.hints_lost = False
        self._clock_ms = clock_ms
        self._namespace = f"rf:{{{namespace}:"
        self._bodies: dict[tuple[str, str, str], Process] = {}
        self._running: Counter[str] = Counter()

    def problem(self, what: str) -> None:
        if len(self.problems) < PROBLEMS_AT_MOST and what not in self.problems:
            self.problems.append(what)
            self.told(what)

    def executed(self, execution: Execution) -> None:
        """A call has been executed."""
        now_ms = self._clock_ms()
        prefix = execution.prefix
        self.checked["S20"] += 1
        if execution.foreign or not prefix.startswith(self._namespace):
            self.problem(f"S20 {execution.name} of {prefix} wrote {execution.foreign}")
        self.mirror.apply(execution)
        has_changed = touches_limits = False
        for change in execution.changes:
            name = change.key[len(prefix) :]
            if name.startswith("run:"):
                fields = {} if change.kind == "none" else as_hash(change)
                self.runs.look(name[4:], fields, execution, now_ms)
                has_changed = True
                touches_limits = touches_limits or b"lk" in change.content
            elif not name.startswith(_PASSING):
                has_changed = True
        if touches_limits:
            self._check_limits(now_ms)
        if has_changed and not self.hints_lost:
            self.audit(prefix)

    def audit(self, prefix: str, *, is_last: bool = False) -> None:
        self.checked["T1-T9"] += 1
        for found in audit_partition(self.mirror, prefix, self._clock_ms()):
            # What was read in an outbox before a loss is carried out after it: a run whose end is lost may have its
            # slot again, and return it. Upkeep says again that it holds it.
            if is_last or not (self.runs.lost_data and found.startswith("T8")):
                self.problem(found)

    def _check_limits(self, now_ms: int) -> None:
        """S18: slots that are taken, and runs that have begun within a period, over all partitions."""
        self.checked["S18"] += 1
        running: Counter[str] = Counter()
        began: Counter[str] = Counter()
        for state in self.runs.runs.values():
            for text in state.fields.get("lk", b"").decode().split():
                name, count, period = text.partition("@")[0].split(":")
                if period == "0":
                    running[f"{name} {count}"] += state.status == "running"
                elif state.began_ms is not None and now_ms - state.began_ms < int(period):
                    began[f"{name} {count}"] += 1
        # A home that has lost alone what it had granted grants it again, until the runs say that they hold it.
        is_ahead = self.runs.lost_data and self.hints_lost
        for place, taken in running.items():
            if taken > int(place.split()[1]) and not is_ahead:
                self.problem(f"S18 limit {place}: {taken} runs are running")
        for place, taken in began.items():
            if taken > int(place.split()[1]) and not self.runs.clock_jumped and not self.runs.lost_data:
                self.problem(f"S18 rate {place}: {taken} runs have begun within its period")

    # -- bodies ---------------------------------------------------------------------------------------------------

    def body_began(self, body: Any, process: Process) -> None:
        """A body starts: S4, S7, S8, S13 at this moment of the true order."""
        run_id, key, attempt = body.run_id, body.key, body.attempt
        fence = body.owner.claim.hold.fence
        state = self.runs.runs.get(run_id) or self.runs.gone.get(run_id)
        where = f"{run_id} {key} attempt {attempt}"
        place = (run_id, key, fence)
        self.checked["S7"] += 1
        if place in self._bodies:
            self.problem(f"S7 {where}: its holder runs it already")
        self._bodies[place] = process
        if state is None or self.runs.lost_data:
            return
        held = state.fields.get("f", b"").decode() == fence
        if not held or state.status != "running":
            how = state.taken_by.get(fence.encode(), "")
            self.checked["S13"] += 1
            if how == "reclaim_runs" and not self.runs.clock_jumped and not self.hints_lost:
                self.problem(f"S7 {where} starts, and its lease had been given to another")
            return
        self.checked["S4"] += 1
        ended = [record for record in state.live if isinstance(record, AttemptFailed | StepSucceeded | StepFailed)]
        mine = [record for record in ended if record.call.key == key]
        if any(isinstance(record, StepSucceeded | StepFailed) for record in mine):
            self.problem(f"S4 {where} starts after its result was recorded")
        failed = sum(isinstance(record, AttemptFailed) for record in mine)
        self.checked["S8"] += 1
        if attempt != failed + 1:
            self.problem(f"S8 {where} starts, and {failed} failed attempts are recorded")
        due_ms = max((record.due_at_ms for record in mine if isinstance(record, AttemptFailed)), default=0)
        self.checked["S14"] += 1
        if due_ms > self._clock_ms() and not self.runs.clock_jumped:
            self.problem(f"S14 {where} starts before it is due at {due_ms}")

    def body_ended(self, body: Any) -> None:
        self._bodies.pop((body.run_id, body.key, body.owner.claim.hold.fence), None)

    def process_died(self, process: Process) -> None:
        self._bodies = {place: owner for place, owner in self._bodies.items() if owner is not process}

    def unfinished(self) -> list[str]:
        """Runs that have not ended, as they are."""
        return [
            f"{state.run_id} {state.fields['w'].decode()} is {state.status}"
            for state in self.runs.runs.values()
            if state.fields["s"] not in TERMINAL
        ]
