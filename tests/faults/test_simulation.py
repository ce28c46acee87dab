"""The simulation itself: that a seed says everything, that what must not be is noticed, that failures get small.

`python -m tests.faults.simulation --seed N --trace` shows what a seed does; `--shrink` leaves out what its failure does
not need.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.simulation.many import kept_seeds, run_seeds
from tests.faults.simulation.mutations import edited
from tests.faults.simulation.plan import draw
from tests.faults.simulation.real_server import RealServer
from tests.faults.simulation.shrink import shrink
from tests.faults.simulation.world import simulate

SEEDS_TO_CATCH = 200
# Where to begin with those that few seeds notice, so that they need not be looked for each time.
FIRST_SEEDS = {
    "a holder shows neither fence nor entry": 310,
    "a repeat is taken for a first call": 450,
    "a claim that is asked again gives nothing": 443,
    "no lease is renewed": 28,
}
ROOT = Path(__file__).parents[2]


def test_what_seeds_have_found_once_is_not_found_again(simulated: RealServer) -> None:
    tally = run_seeds(simulated, kept_seeds())
    assert tally.schedules == len(kept_seeds())
    assert not tally.failed, str(tally)


def test_a_seed_gives_the_same_history_each_time(simulated: RealServer) -> None:
    for seed in range(3):
        assert simulate(draw(seed), simulated).digest == simulate(draw(seed), simulated).digest


def test_a_seed_gives_the_same_history_in_another_process() -> None:
    def history(hash_seed: str) -> str:
        command = [sys.executable, "-m", "tests.faults.simulation", "--seed", "1048"]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        return next(line for line in done.stdout.splitlines() if line.startswith("history "))

    assert history("1") == history("2")


# By the file, what is there and what takes its place.
MUTANTS = {
    "a holder shows neither fence nor entry": {
        "lib/hold.lua": (
            """  if r[2] ~= fence then return is_terminal(r[1]) and 'ended' or 'fenced' end
  if r[1] == 'running' and r[3] == entry and r[4] == before""",
            "  if r[1] == 'running' and r[4] == before",
        )
    },
    "a repeat is taken for a first call": {"lib/hold.lua": (" and r[4] == before then\n", " then\n")},
    "a claim that is asked again gives nothing": {
        "claim_runs.lua": ("if redis.call('HGET', worker_key, 'op') == operation then", "if false then")
    },
    "a run that is taken keeps its fence": {
        "lib/taken_fence.lua": (
            "return (fence and string.match(fence, '^%d+') or '0') .. ':-'",
            "return fence or '0:-'",
        )
    },
    "no lease is renewed": {"lib/renew_lease.lua": ("redis.pcall('XCLAIM', ", "redis.pcall('XINFO', ")},
    "an idempotency key is not kept": {
        "lib/keep_key.lua": ("redis.call('SET', prefix .. 'idem:'", "redis.call('SET', prefix .. 'bell:'")
    },
    "timers fire early": {
        "lib/wake_due.lua": ("'-inf', now, 'LIMIT'", "'-inf', now + 300, 'LIMIT'"),
        "lib/wake_one.lua": ("elseif run.due and run.due > now then", "elseif run.due and run.due > now + 300 then"),
    },
    "a slot more than there are": {
        "lib/take_slots.lua": ("if over < 0 then return true end", "if over < 1 then return true end")
    },
    "what has ended is cancelled": {
        "cancel_run.lua": ("if is_terminal(run.status) then return { 'already', run.status } end", "")
    },
    "a finished run stays in its stream": {"finish_run.lua": ("leave_streams(prefix, left)\n", "\n")},
    "mail is given up": {
        "lib/add_mail.lua": ("redis.call('HSET', prefix .. 'mail:'", "redis.call('HSET', prefix .. 'u:'")
    },
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_caught(mutant: str, simulated_port: int) -> None:
    real = RealServer(simulated_port, edited(MUTANTS[mutant]))
    try:
        first = FIRST_SEEDS.get(mutant, 0)
        seeds = range(first, first + SEEDS_TO_CATCH)
        caught = next((seed for seed in seeds if simulate(draw(seed), real).problems), None)
    finally:
        real.close()
    assert caught is not None, f"{SEEDS_TO_CATCH} seeds have not noticed that {mutant}"


def test_a_failing_plan_is_shrunk_to_what_its_failure_needs(simulated_port: int) -> None:
    real = RealServer(simulated_port, edited(MUTANTS["a finished run stays in its stream"]))
    try:
        plan = draw(0)
        small = shrink(plan, lambda smaller: bool(simulate(smaller, real).problems))
        assert simulate(small, real).problems
        assert not small.faults
        assert sum(len(run.program) for run in small.runs) <= 1
    finally:
        real.close()
