"""What a seed says: the runs, what clients do to them, and what goes wrong. Drawn before anything runs.

A plan is data: the shrinker leaves things out of it, and the rest stays what it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

Op = list[Any]

WORKFLOWS = ("play", "play", "play", "limited", "spread", "rated")
QUIET_FROM_S = 0.5
"""Faults and clients begin when the first workers have begun."""


@dataclass(frozen=True, slots=True)
class PlannedRun:
    at_s: float
    workflow: str
    program: list[Op]
    starters: int
    """Clients that start it at the same time, under one idempotency key."""
    deadline_s: float | None = None
    delay_s: float | None = None
    unique: bool = False
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class Act:
    """What a client does to a run."""

    at_s: float
    verb: str
    run: int


@dataclass(frozen=True, slots=True)
class Fault:
    at_s: float
    kind: str
    target: int
    """Which worker, client or run: a number, taken modulo how many there are."""
    for_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Rates:
    """Chances of each message."""

    latency_s: float = 0.002
    slow: float = 0.0
    slow_s: float = 0.0
    lost_request: float = 0.0
    lost_reply: float = 0.0
    ghost: float = 0.0
    ghost_s: float = 0.0
    refusal: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    seed: int
    partitions: int
    workers: int
    clients: int
    lease_s: float
    faults_until_s: float
    rates: Rates
    runs: tuple[PlannedRun, ...]
    acts: tuple[Act, ...]
    faults: tuple[Fault, ...]
    schedule_every_s: float | None
    knows_scripts: bool
    old_code: bool
    """Whether the first worker serves some of the workflows only."""
    extra: dict[str, Any] = field(default_factory=dict)


def draw(seed: int, *, with_faults: bool = True) -> Plan:
    """The plan of a seed."""
    rng = Random(f"{seed} plan")
    lease_s = rng.choice([1.0, 1.0, 2.0, 2.0, 4.0])
    workers = rng.choice([1, 1, 2, 2, 2, 3])
    partitions = rng.choice([1, 1, 1, 2, 2, 3]) if workers < 3 else 1
    runs = tuple(_run(rng) for _ in range(rng.choice([1, 1, 2, 2, 3, 3, 4, 6])))
    until_s = QUIET_FROM_S + rng.uniform(0.3, 2.0) * lease_s
    acts = tuple(
        Act(
            rng.uniform(0.1, until_s),
            rng.choice(["cancel", "pause", "resume", "retry", "signal", "signal", "rerun", "read", "delete", "fork"]),
            rng.randrange(len(runs)),
        )
        for _ in range(rng.choice([0, 1, 2, 4]))
    )
    kinds = ["kill", "kill", "stop", "stop", "cut", "reset", "flush", "jump", "hint", "leave", "slow"]
    faults: tuple[Fault, ...] = ()
    rates = Rates(latency_s=rng.choice([0.0005, 0.002, 0.02]))
    if with_faults:
        some = rng.sample(kinds, rng.randint(1, 4))
        faults = tuple(
            Fault(rng.uniform(0.05, until_s), rng.choice(some), rng.randrange(12), rng.uniform(0.1, 2.5) * lease_s)
            for _ in range(rng.choice([0, 1, 2, 3, 5]))
        )
        # Whoever is stopped or cut off beyond its lease comes back while another has its runs.
        away = [fault.at_s + fault.for_s for fault in faults if fault.kind in {"stop", "cut"}]
        until_s = max([until_s, *away])
        if rng.random() < 0.7:
            rates = Rates(
                latency_s=rates.latency_s,
                slow=rng.choice([0, 0, 0.01, 0.05]),
                slow_s=rng.uniform(0.05, 1.5) * lease_s,
                lost_request=rng.choice([0, 0.005, 0.02]),
                lost_reply=rng.choice([0, 0.005, 0.02, 0.05]),
                ghost=rng.choice([0, 0.5, 1.0]),
                ghost_s=rng.choice([0.3, 0.6, rng.uniform(0.5, 2.0) * lease_s]),
                refusal=rng.choice([0, 0, 0.005, 0.02]),
            )
    if with_faults and rng.random() < 0.08:
        at_s = rng.uniform(0.05, until_s * 0.6)
        faults = (*faults, Fault(at_s, "rollback", rng.randrange(12), rng.uniform(0.02, until_s - at_s)))
    # From a source of its own: what else a seed says stays what it was.
    more = Random(f"{seed} more")
    if more.random() < 0.3:
        repairs = (
            Act(more.uniform(0.1, until_s), "repair", more.randrange(len(runs))) for _ in range(more.randint(1, 3))
        )
        acts = (*acts, *repairs)
    if more.random() < 0.3:
        runs = tuple(
            replace(run, workflow="fair", priority=more.choice([None, 0, 5, 9])) if run.workflow == "play" else run
            for run in runs
        )
        # Their windows hold four runs of a key.
        runs = (
            *runs,
            *(replace(run, at_s=more.uniform(0, 0.2)) for run in runs[:1] for _ in range(more.choice([0, 5, 8]))),
        )
    if more.random() < 0.15:
        kind = more.choice(["hold_workflow", "hold_queue"])
        acts = (*acts, Act(more.uniform(0.1, until_s), kind, more.randrange(len(runs))))
    return Plan(
        seed=seed,
        partitions=partitions,
        workers=workers,
        clients=rng.choice([1, 2, 3]),
        lease_s=lease_s,
        faults_until_s=until_s,
        rates=rates,
        runs=runs,
        acts=acts,
        faults=faults,
        schedule_every_s=rng.choice([None, None, None, None, 0.7, 1.5]),
        knows_scripts=rng.random() < 0.8,
        old_code=rng.random() < 0.15,
    )


def _run(rng: Random) -> PlannedRun:
    names = _Names()
    program = [_op(rng, names, 0) for _ in range(rng.randint(1, 4))]
    if rng.random() < 0.1:
        program.append(["again", 2])
    elif rng.random() < 0.1:
        program.append(["fail"])
    return PlannedRun(
        at_s=rng.choice([0.0, 0.0, rng.uniform(0, 2)]),
        workflow=rng.choice(WORKFLOWS),
        program=program,
        starters=rng.choice([1, 1, 1, 2, 3]),
        deadline_s=rng.uniform(0.2, 4) if rng.random() < 0.12 else None,
        delay_s=rng.uniform(0.1, 2) if rng.random() < 0.12 else None,
        unique=rng.random() < 0.1,
    )


class _Names:
    def __init__(self) -> None:
        self._count = 0

    def new(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count}"


def _op(rng: Random, names: _Names, depth: int) -> Op:
    kinds = ["step"] * 6 + ["sleep", "sleep", "signal", "child", "count", "undo", "say", "sync", "hear", "cast"]
    if depth < 2:
        kinds += ["gather", "gather", "caught"]
    kind = rng.choice(kinds)
    match kind:
        case "step":
            fails = rng.choice([0, 0, 0, 0, 1, 2, 9]) if depth or rng.random() < 0.5 else 0
            return ["step", names.new("s"), fails, rng.choice([0, 0, 1, 20, 300, 1200, 2600])]
        case "sync":
            return ["sync", names.new("y")]
        case "sleep":
            return ["sleep", names.new("z"), rng.choice([0, 10, 200, 700, 1500])]
        case "signal":
            return ["signal", names.new("g")]
        case "hear":
            return ["hear", names.new("h"), rng.choice([100, 1000])]
        case "cast":
            return ["cast", "all"]
        case "child":
            own = _Names()
            program = [_op(rng, own, depth + 2) for _ in range(rng.randint(1, 2))]
            return ["child", names.new("c"), program, rng.random() < 0.5, rng.choice(["play", "limited"])]
        case "count":
            # In a gather its number would be a matter of timing.
            return ["count", names.new("n")] if depth == 0 else ["step", names.new("s"), 0, 0]
        case "undo":
            return ["undo", names.new("u"), rng.choice([0, 0, 1])] if depth == 0 else ["say", 1]
        case "say":
            return ["say", rng.randint(1, 3)]
        case "gather":
            return ["gather", [_op(rng, names, depth + 1) for _ in range(rng.randint(2, 3))]]
        case _:
            return ["caught", _op(rng, names, depth + 1)]
