"""One simulation: a plan is carried out, everything is checked, and what happened is told."""

from __future__ import annotations

import asyncio
import gc
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from redisflow.backend.wire import Refusal
from tests.crash.audit import leftovers
from tests.faults.simulation.checker import Checker
from tests.faults.simulation.clients import Clients
from tests.faults.simulation.crew import NAMESPACE, Crew, WorkerMember
from tests.faults.simulation.invariants import TERMINAL
from tests.faults.simulation.loop import SimulatedLoop
from tests.faults.simulation.network import Connection, Network, Server
from tests.faults.simulation.plan import Fault, Plan
from tests.faults.simulation.real_server import Execution, RealServer
from tests.faults.simulation.seeded import quiet, under_seed, wall_ms
from tests.faults.simulation.threads import Turn
from tests.faults.simulation.weather import SeededWeather

CRASH_LIMIT = 3
LONG_LEASE_S = 4.0
ENDS_WITHIN_S = 120.0
"""After the last fault: sleeps, retries, rates and turns included, every run has ended by then."""
STEPS_AT_MOST = 60_000


@dataclass
class Outcome:
    """What came of a seed."""

    seed: int
    problems: list[str]
    steps: int = 0
    digest: str = ""
    """Of the whole history: the same for the same seed."""
    happened: Counter[str] = field(default_factory=Counter)
    checked: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    seconds: float = 0.0
    """Of virtual time."""


class World:
    """See the module."""

    def __init__(self, plan: Plan, real: RealServer, trace: Callable[[str], None] | None = None) -> None:
        self.plan = plan
        self.real = real
        self.loop = SimulatedLoop()
        self.turn = Turn(self.loop)
        self.jumped_ms = 0
        self.happened: Counter[str] = Counter()
        self.checker = Checker(NAMESPACE, self.clock_ms, crash_limit=CRASH_LIMIT)
        self.steps = 0
        self._trace = trace
        self._hash = hashlib.blake2b(digest_size=12)
        self._rng = Random(f"{plan.seed} world")
        # A claim whose reply was lost, and that is refused when it is sent again, is not asked for any more; one that
        # arrives when its connection is gone takes runs for nobody. Their leases end, and others take them up. So do
        # short ones where replies are lost so often that a claim is given up.
        rates = plan.rates
        is_lossy = plan.lease_s < LONG_LEASE_S and bool(rates.lost_reply or rates.lost_request)
        self.checker.runs.leases_may_end = any((is_lossy, rates.slow, rates.refusal, rates.ghost)) or any(
            fault.kind in {"kill", "stop", "cut", "slow", "jump", "hint", "rollback"} for fault in plan.faults
        )
        self.loop.on_error = self._loop_error
        if trace is not None:
            self.checker.told = lambda problem: trace(f"{self.loop.time() - 1000:9.4f} {'!!':10} {problem}")

    def clock_ms(self) -> int:
        """The server's clock."""
        return wall_ms(self.loop) + self.jumped_ms

    def note(self, what: str) -> None:
        """Something happened that is no call."""
        self.happened[what.partition(":")[0]] += 1
        if self._trace is not None:
            self._trace(f"{self.loop.time() - 1000:9.4f} {'*':10} {what}")

    def _loop_error(self, about: dict[str, Any]) -> None:
        error = about.get("exception")
        self.checker.problem(f"an error that nobody caught: {about.get('message')} {error!r}")

    def _executed(self, execution: Execution, connection: Connection) -> None:
        self.steps += 1
        if self.steps > STEPS_AT_MOST:
            raise RuntimeError(f"more than {STEPS_AT_MOST} calls: nothing comes to rest")
        process = connection.process.name
        history = (process, execution.name, round(self.loop.time() * 1e6), execution.arguments)
        self._hash.update(repr(history).encode())
        # In no order: that of a large hash is the server's own, and differs each time that it is started.
        self._hash.update(b" ".join(sorted(_leaves(execution.reply))))
        if self._trace is not None:
            words = " ".join(_show(word) for word in execution.arguments)
            self._trace(
                f"{self.loop.time() - 1000:9.4f} {process:10} {execution.name:16} {words[:300]}"
                f"  ->  {_show(execution.reply)[:200]}"
            )
        self.checker.executed(execution)

    def run(self) -> Outcome:
        """Carry the plan out."""
        plan, loop = self.plan, self.loop
        self.real.clear()
        with quiet(), under_seed(loop, self.turn, plan.seed):
            self.weather = SeededWeather(loop, plan.seed, plan.rates)
            self.server = Server(loop, self.real, self.clock_ms, self._executed)
            if plan.knows_scripts:
                self.server.know_all()
            self.network = Network(loop, self.weather, self.server)
            self.crew = Crew(plan, loop, self.network, self.checker)
            self.crew.happened = self.note
            self.clients = Clients(plan, loop, self.crew, self.checker)
            try:
                loop.run_until_complete(self._live())
            except RuntimeError as error:
                self.checker.problem(f"L {error}")
            self.turn.end_all()
            loop.on_error = lambda _: None
            outcome = Outcome(
                plan.seed,
                self.checker.problems,
                self.steps,
                self._hash.hexdigest(),
                self.happened + self.weather.happened,
                self.checker.checked,
                len(self.checker.runs.runs) + len(self.checker.runs.gone),
                loop.time() - 1000,
            )
            self._dispose()
        return outcome

    def _dispose(self) -> None:
        for task in asyncio.all_tasks(self.loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # a process that was killed
        self.loop.close()
        del self.crew, self.clients, self.network, self.server

    async def _live(self) -> None:
        plan, crew = self.plan, self.crew
        for number in range(plan.workers):
            crew.hire(old=plan.old_code and number == 0)
        self.clients.begin()
        for fault in plan.faults:
            self.loop.call_later(fault.at_s, self._strike, fault)
        await asyncio.sleep(plan.faults_until_s)
        self._calm()
        self.clients.finish()
        until_s = self.loop.time() + ENDS_WITHIN_S
        while self.loop.time() < until_s:
            await asyncio.sleep(0.1)
            started = all(member.worker is not None for member in crew.living())
            if started and self.clients.are_done and self._is_at_rest():
                break
        else:
            self._say_what_is_left()
        self.clients.end()
        for member in crew.living():
            worker = member.worker
            if worker is None:
                self.checker.problem(f"L4 {member.process.name} has not started")
            await member.process.spawn(member.leave(), "leave")
        for client in crew.clients:
            await client.process.spawn(client.flow.close(), "close")
        self._check_end()

    # -- faults ---------------------------------------------------------------------------------------------------

    def _strike(self, fault: Fault) -> None:
        self.note(f"{fault.kind}: {fault.target} for {fault.for_s:.2f} s")
        getattr(self, f"_{fault.kind}")(fault)

    def _worker(self, fault: Fault) -> WorkerMember | None:
        living = self.crew.living()
        return living[fault.target % len(living)] if living else None

    def _later(self, fault: Fault, act: Callable[[], object]) -> None:
        self.loop.call_later(min(fault.for_s, self.plan.faults_until_s - fault.at_s), act)

    def _kill(self, fault: Fault) -> None:
        if member := self._worker(fault):
            self.crew.kill(member)
            self._later(fault, self.crew.hire)

    def _stop(self, fault: Fault) -> None:
        if member := self._worker(fault):
            member.process.stop()
            self._later(fault, member.process.go_on)

    def _leave(self, fault: Fault) -> None:
        if member := self._worker(fault):
            member.process.spawn(member.leave(), "leave")
            self._later(fault, self.crew.hire)

    def _cut(self, fault: Fault) -> None:
        members = [*self.crew.living(), *self.crew.clients]
        process = members[fault.target % len(members)].process
        self.weather.held_until_s[process] = self.loop.time() + min(fault.for_s, self.plan.faults_until_s - fault.at_s)

    def _reset(self, fault: Fault) -> None:
        members = [*self.crew.living(), *self.crew.clients]
        for connection in members[fault.target % len(members)].process.connections:
            connection.cut()

    def _flush(self, _: Fault) -> None:
        self.server.flush_scripts()

    def _slow(self, fault: Fault) -> None:
        member = self._worker(fault)
        if member is not None:
            self.weather.held_until_s[member.process] = self.loop.time() + fault.for_s / 4

    def _jump(self, fault: Fault) -> None:
        self.checker.runs.clock_jumped = True
        self.jumped_ms += round((fault.for_s if fault.target % 2 else -fault.for_s) * 1000)
        if fault.target == 11:
            self.jumped_ms += 600_000

    def _hint(self, fault: Fault) -> None:
        """Somebody deletes what points to a run; upkeep finds it by the run itself."""
        runs = [state for state in self.checker.runs.runs.values() if {"e", "d"} & state.fields.keys()]
        if not runs:
            return
        state = runs[fault.target % len(runs)]
        prefix = next(key for key in self.checker.mirror.keys if key.endswith(f"run:{state.run_id}"))
        prefix = prefix.removesuffix(f"run:{state.run_id}")
        self.checker.hints_lost = True
        if "d" in state.fields and (fault.target % 2 or "e" not in state.fields):
            command = [b"ZREM", f"{prefix}delayed".encode(), state.run_id.encode()]
        else:
            lane, _, entry = state.fields["e"].decode().partition(":")
            queue = state.fields.get("q", b"default").decode()
            command = [b"XDEL", f"{prefix}q:{queue}:{lane}".encode(), entry.encode()]
        self.checker.executed(self.real.run_command(command, self.clock_ms()))

    def _rollback(self, fault: Fault) -> None:
        """The server loses what it has acknowledged from now on, until a replica is promoted a while later.

        All partitions together, as on one server; or one alone, as on a node of a cluster.
        """
        numbers = range(self.plan.partitions)
        chosen = [fault.target % len(numbers)] if fault.target % 2 else numbers
        partitions = tuple(f"rf:{{{NAMESPACE}:{number}}}:" for number in chosen)
        saved = {prefix: self.real.save(prefix) for prefix in partitions}
        keys = {key: change for key, change in self.checker.mirror.keys.items() if key.startswith(partitions)}
        runs = self.checker.runs.states_in(keys)
        self._later(fault, lambda: self._restore(saved, keys, runs))

    def _restore(self, saved: dict[str, Any], keys: Any, runs: Any) -> None:
        prefixes = tuple(saved)
        self.note(f"acknowledged writes are lost: {', '.join(prefixes)}")
        checker = self.checker
        checker.runs.lose({int(prefix[:-2].rpartition(":")[2]) for prefix in prefixes}, runs)
        # Of what one partition knows of another, some may be ahead of it now.
        checker.hints_lost = checker.hints_lost or len(saved) < self.plan.partitions
        kept = {key: change for key, change in checker.mirror.keys.items() if not key.startswith(prefixes)}
        checker.mirror.keys = {**kept, **keys}
        for prefix, dumps in saved.items():
            self.real.restore(prefix, dumps)
        self.server.flush_scripts()
        for member in [*self.crew.living(), *self.crew.clients]:
            for connection in member.process.connections:
                connection.cut()
        for prefix in saved:
            if not checker.hints_lost:
                checker.audit(prefix)

    def _calm(self) -> None:
        """The faults stop: who was stopped goes on, and somebody serves every workflow."""
        self.note("the faults stop")
        self.weather.end()
        for member in self.crew.workers:
            member.process.go_on()
        for member in [member for member in self.crew.living() if member.old]:
            member.is_leaving = True
            member.process.spawn(member.leave(), "leave")
        if not self.crew.living():
            self.crew.hire()

    # -- the end --------------------------------------------------------------------------------------------------

    def _is_at_rest(self) -> bool:
        return all(state.fields["s"] in TERMINAL for state in self.checker.runs.runs.values()) and not self._left()

    def _left(self) -> list[str]:
        return leftovers(self.checker.mirror.raw, NAMESPACE, self.plan.partitions)

    def _say_what_is_left(self) -> None:
        for what in [*self.checker.unfinished(), *self._left(), *self.clients.undone]:
            self.checker.problem(f"L1 {what}, {ENDS_WITHIN_S:g} s after the faults have stopped")

    def _check_end(self) -> None:
        checker = self.checker
        for partition in range(self.plan.partitions):
            checker.audit(f"rf:{{{NAMESPACE}:{partition}}}:", is_last=True)
        for key in checker.mirror.differs_from(self.real):
            checker.problem(f"the simulation's own picture of the key space is wrong: {key}")
        self.clients.check()


def _leaves(reply: Any) -> Iterator[bytes]:
    if isinstance(reply, list):
        for item in reply:
            yield from _leaves(item)
    else:
        yield reply if isinstance(reply, bytes) else repr(reply).encode()


def _show(word: Any) -> str:
    if isinstance(word, bytes):
        text = word.decode("utf-8", "backslashreplace")
        return "".join(char if char.isprintable() else "." for char in text)
    if isinstance(word, Refusal):
        return f"!{word}"
    if isinstance(word, list):
        return f"[{' '.join(map(_show, word))}]"
    return str(word)


def simulate(plan: Plan, real: RealServer, trace: Callable[[str], None] | None = None) -> Outcome:
    """Carry a plan out, and clear away what it left in this process."""
    outcome = World(plan, real, trace).run()
    with quiet():
        gc.collect()
    return outcome
