"""What becomes of messages: drawn from the seed, until the faults stop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

from redisflow.backend.scripts import load_scripts
from tests.faults.simulation.loop import Process, SimulatedLoop
from tests.faults.simulation.plan import Rates

# What the server says where it does not execute a call, and that passes. The last two end a call for good; the server
# says them to scripts that would take memory, and such calls are a client's or are made again by themselves.
PASSING = (
    "LOADING Redis is loading the dataset in memory",
    "BUSY Redis is busy running a script",
    "MASTERDOWN Link with MASTER is down",
    "CLUSTERDOWN The cluster is down",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "NOREPLICAS Not enough good replicas to write.",
    "MISCONF Redis is configured to save RDB snapshots, but it is unable to persist on disk.",
    "READONLY You can't write against a read only replica.",
)
OUT_OF_MEMORY = "OOM command not allowed when used memory > 'maxmemory'."
REFUSED_WHEN_FULL = frozenset(script.name for script in load_scripts() if script.text.startswith("#!lua\n"))

# Most calls look whether there is something to do, and there is not. Faults shall strike where something is written.
WEIGHTY = frozenset(
    {"create_run", "start_runs", "claim_runs", "commit_run", "park_run", "finish_run", "continue_run", "release_run"}
    | {
        "cancel_run",
        "signal_run",
        "send_signal",
        "carry_signal",
        "give_end",
        "cancel_child",
        "clear_outbox",
        "retry_run",
    }
    | {"ask_permit", "give_permit", "hold_permit", "return_permit", "fire_schedule", "shelve_run", "pause_run"}
)
WEIGHT = 8.0


class SeededWeather:
    """See `Weather` of the network."""

    def __init__(self, loop: SimulatedLoop, seed: int, rates: Rates) -> None:
        self._loop = loop
        self._rng = Random(f"{seed} weather")
        self.rates = rates
        self.held_until_s: dict[Process, float] = {}
        """While it is cut off, what it says and what it is told is on its way until then."""
        self.happened: Counter[str] = Counter()

    def end(self) -> None:
        """From now on nothing goes wrong."""
        self.rates = Rates(latency_s=self.rates.latency_s)

    def latency_s(self, process: Process) -> float:
        rates, rng = self.rates, self._rng
        latency_s = rates.latency_s * rng.random()
        if rates.slow and rng.random() < rates.slow:
            self.happened["slow message"] += 1
            latency_s += rates.slow_s * rng.random()
        held_until_s = self.held_until_s.get(process, 0.0)
        return max(latency_s, held_until_s - self._loop.time() + latency_s)

    def breaks(self, process: Process, names: Sequence[str]) -> str:
        rates, rng = self.rates, self._rng
        if not rates.lost_request and not rates.lost_reply:
            return ""
        drawn = rng.random() / (WEIGHT if WEIGHTY.intersection(names) else 1)
        if drawn < rates.lost_request:
            self.happened["lost request"] += 1
            return "request"
        if drawn < rates.lost_request + rates.lost_reply:
            self.happened["lost reply"] += 1
            return "reply"
        return ""

    def ghost_s(self) -> float | None:
        rates, rng = self.rates, self._rng
        if rates.ghost and rng.random() < rates.ghost:
            self.happened["call after its connection was gone"] += 1
            return rates.ghost_s * rng.random()
        return None

    def refusal(self, name: str, process: Process) -> str:
        rates, rng = self.rates, self._rng
        if not rates.refusal or rng.random() >= rates.refusal:
            return ""
        if name in REFUSED_WHEN_FULL and rng.random() < 0.3:
            self.happened["OOM"] += 1
            return OUT_OF_MEMORY
        words = rng.choice(PASSING)
        self.happened[words.partition(" ")[0]] += 1
        return words

    def is_cut_off(self, process: Process) -> bool:
        return self._loop.time() < self.held_until_s.get(process, 0.0)
