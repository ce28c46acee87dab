"""What bodies wrote, and what must be true of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

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


@dataclass(frozen=True)
class LaidAside:
    """That a worker met a run whose record its code does not know, and left it to others."""

    at_ns: int
    run_id: str

    @classmethod
    def parse_all(cls, log: str) -> list[LaidAside]:
        """From what workers logged, by this machine's clock."""
        found = re.findall(r"^(\S+ \S+) ERROR +redisflow\.worker +run\.suspended (\w+)", log, re.MULTILINE)
        return [cls(int(datetime.fromisoformat(at).timestamp() * 1e9), run_id) for at, run_id in found]


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


def recoveries(
    lines: Sequence[Line], killed_at_ns: dict[int, int], laid_aside: Iterable[LaidAside] = ()
) -> list[Recovery]:
    """From each kill to the next sign of a run that was in one of the killed worker's bodies.

    That is a body in another worker, or that another worker laid it aside: its code was of yesterday, the record of
    today. A run that another worker had before the kill had already been taken from the one that was killed.
    """
    ended = {line.token for line in lines if line.event == "end"}
    signs: dict[str, list[tuple[int, int | None, str]]] = {}
    for line in lines:
        signs.setdefault(line.run_id, []).append((line.at_ns, line.pid, line.key))
    for aside in laid_aside:
        signs.setdefault(aside.run_id, []).append((aside.at_ns, None, "being laid aside"))
    found: list[Recovery] = []
    for line in lines:
        killed_ns = killed_at_ns.get(line.pid)
        if line.event != "start" or line.token == "-" or line.token in ended or not killed_ns:
            continue
        later = [sign for sign in signs[line.run_id] if sign[0] > line.at_ns and sign[1] != line.pid]
        if (first := min(later, key=lambda sign: sign[0], default=None)) is not None and first[0] > killed_ns:
            at_ns, _, key = first
            found.append(Recovery((at_ns - killed_ns) / 1e9, line.run_id, line.key, key))
    return found
