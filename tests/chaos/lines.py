"""What bodies wrote, and what must be true of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from redisflow.runs import WorkflowRun


@dataclass(frozen=True, order=True)
class Recovery:
    """How long a run whose worker was killed in one of its bodies had no other."""

    seconds: float
    run_id: str
    key: str
    """Of the body that was killed."""
    next_key: str
    """Of the one that came next."""

    def __str__(self) -> str:
        """For people."""
        return f"{self.seconds:.1f} s in {self.run_id}, from {self.key} to {self.next_key}"


@dataclass(frozen=True)
class Line:
    """What a body wrote."""

    at_ns: int
    event: str
    run_id: str
    key: str
    attempt: int
    pid: int
    token: str

    @classmethod
    def parse(cls, text: str) -> Line:
        at_ns, event, run_id, key, attempt, pid, token = text.split()
        return cls(int(at_ns), event, run_id, key, int(attempt), int(pid), token)


def starts_after_record(runs: Iterable[WorkflowRun], lines: Sequence[Line]) -> list[str]:
    """Bodies that started after the one whose result is recorded had ended (S4); and results that no body gave."""
    by_step: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        by_step.setdefault((line.run_id, line.key), []).append(line)
    found: list[str] = []
    for run in runs:
        for step in run.steps:
            if step.kind != "run" or step.status != "succeeded":
                continue
            written = by_step.get((run.id, step.key), [])
            ends = [n for n, line in enumerate(written) if line.event == "end" and line.token == step.output]
            if len(ends) != 1:
                found.append(f"{run.id} {step.key}: the recorded body ended {len(ends)} times")
            elif late := [line for line in written[ends[0] + 1 :] if line.event == "start"]:
                found.append(f"{run.id} {step.key} started after its recorded end: {late}")
    return found


def wrong_ends(runs: Iterable[WorkflowRun]) -> list[str]:
    """Runs that did not succeed, or whose code saw something else than is recorded."""
    found: list[str] = []
    for run in runs:
        if run.status != "succeeded":
            found.append(f"{run.id} ({run.workflow}) is {run.status}: {run.error}")
            continue
        outputs = [step.output for step in run.steps if step.kind == "run" and step.status == "succeeded"]
        if run.output != outputs:
            found.append(f"{run.id}: the workflow saw {run.output}, recorded are {outputs}")
    return found


def recoveries(lines: Sequence[Line], killed_at_ns: dict[int, int]) -> list[Recovery]:
    """From each kill to the next body of a run that was in one of the killed worker's bodies."""
    ended = {line.token for line in lines if line.event == "end"}
    later_by_run: dict[str, list[Line]] = {}
    for line in lines:
        later_by_run.setdefault(line.run_id, []).append(line)
    found: list[Recovery] = []
    for line in lines:
        killed_ns = killed_at_ns.get(line.pid)
        if line.event != "start" or line.token == "-" or line.token in ended or not killed_ns:
            continue
        following = next(
            (after for after in later_by_run[line.run_id] if after.at_ns > killed_ns and after.pid != line.pid), None
        )
        if following is not None:
            seconds = (following.at_ns - killed_ns) / 1e9
            found.append(Recovery(seconds, line.run_id, line.key, following.key))
    return found
