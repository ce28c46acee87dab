"""One scenario: a workflow runs on a real server, one call of its client or worker meets a fault, and all is well.

What is asserted after it: the run ended as its reference says, and its client was told so; every body started as often
as is allowed, and never after its record; nothing was done twice; the key space is sound and nothing is left over; the
worker is still at work, which a second run shows; and nothing fills the log.
"""

from __future__ import annotations

import asyncio
import secrets
import time
import traceback
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from redisflow import RedisFlow, Step, WorkflowHandle
from redisflow.errors import BackendError
from redisflow.testing.faults import Proxy, Rule, call, open_proxy
from redisflow.worker.worker import Worker
from tests.crash.audit import audit, leftovers
from tests.crash.harness import Crew
from tests.crash.reference import Reference
from tests.crash.test_crash_points import _check_outputs, _problems, sweep
from tests.faults.client import Client
from tests.faults.lines import Lines
from tests.faults.outcomes import Outcome
from tests.faults.sites import Site, Who, name_site, sites_of
from tests.faults.workflows import IDLE
from tests.keyspace import Raw

WITHIN_S = 240.0
"""For what takes a fraction of a second: only what never comes is late."""
STALL_S = 2.0
"""A connection that owes a reply for so long is given up; on a busy machine, sooner or later for no reason."""
LEASE = "10m"
"""So long that nothing is mended by a lease that ends: they are aged, where a run has to wait for that."""
SHORT_LEASE = "2s"
"""Upkeep and heartbeats come several times in it."""
HELD_S = 6.0
"""Longer than a short lease, with the round of upkeep after it."""
ENDS_OF_BATCHES = frozenset({"GET", "INCR", "PEXPIRE"})
SWEEPS = 20
LOOK_S = 0.3
"""How long a run that was left to its lease waits until that is aged."""


@dataclass
class Played:
    """What came of a scenario."""

    fired: bool
    problems: list[str]
    seconds: float
    sites: list[Site] = field(default_factory=list)


@dataclass
class Scenario:
    """See the module. Without `site` nothing is disturbed."""

    reference: Reference
    url: str
    raw: Raw
    site: Site | None = None
    outcome: Outcome | None = None

    def __post_init__(self) -> None:
        self._namespace = f"sites-{secrets.token_hex(6)}"
        self._lines = Lines()
        self._problems: list[str] = []
        self._rule: Rule | None = None
        self._aged = 0
        self._has_arrived = False
        self._refused_starts = 0

    async def play(self) -> Played:
        """Run it."""
        began_s = time.monotonic()
        self._lines.enter()
        sites: list[Site] = []
        try:
            async with asyncio.timeout(WITHIN_S), AsyncExitStack() as stack:
                proxies: dict[Who, Proxy] = {
                    "client": await stack.enter_async_context(open_proxy(self.url, name_of=name_site)),
                    "worker": await stack.enter_async_context(open_proxy(self.url, name_of=name_site)),
                }
                self._lines.ports = [proxy.port for proxy in proxies.values()]
                if self.site is not None and self.outcome is not None:
                    on = proxies[self.site.who].on(call(self.site.name, nth=self.site.nth))
                    self._rule = self.outcome.arm(on)
                await self._run(stack, proxies)
                sites = sites_of(proxies)
        except TimeoutError:
            self._problems.append(f"not over within {WITHIN_S:g} s")
        except Exception as error:  # whatever it is, it is what the scenario found
            where = traceback.extract_tb(error.__traceback__)[-1]
            self._problems.append(f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})")
        finally:
            self._lines.leave()
        seconds = time.monotonic() - began_s
        problems = [*self._problems, *self._lines.problems(seconds)]
        return Played(self._rule is not None and self._rule.fired > 0, problems, seconds, sites)

    async def _run(self, stack: AsyncExitStack, proxies: dict[Who, Proxy]) -> None:
        partitions = self.reference.partitions
        far = RedisFlow(proxies["client"].url, namespace=self._namespace, partitions=partitions)
        await stack.enter_async_context(far.moved_to(replace(far.location, stall_s=STALL_S)))
        client = Client(far)
        near = await stack.enter_async_context(RedisFlow(self.url, namespace=self._namespace, partitions=partitions))
        crew = Crew(proxies["worker"].url, self._namespace, self.raw, partitions=partitions)
        crew.stall_s = 30.0 if self._is_late else STALL_S
        stack.push_async_callback(crew.close)
        for definition in self.reference.define(client, crew.journal):  # type: ignore[arg-type]  # it acts as a flow
            crew.know(definition)
        probe = _probe(near)
        crew.know(probe.definition)

        handle = await client.run_workflow(self.reference.name, **self.reference.options)
        told = asyncio.create_task(client.end_of(handle))
        hired = asyncio.create_task(self._hire(crew))
        stack.push_async_callback(_cancel, told, hired)
        await self._nurse(crew, near, {told, hired}, handle.id)
        worker = await hired
        before = {who: len(proxy.calls) for who, proxy in proxies.items()}
        await self._is_at_work(crew, near, worker, probe)
        for who, proxy in proxies.items():
            del proxy.calls[before[who] :]  # those of the probe are the same once more
        if self._rule is not None:
            self._rule.release()
        await crew.close()
        crew.workers.clear()
        left = await self._sweep(near, crew)
        await self._check(near, client, crew, handle, await told)
        self._problems += left

    @property
    def _leases_pass(self) -> bool:
        """Whether leases end by themselves, which the worker's clock sees, too.

        What ends a batch is held up with all answers of that batch, a claim's among them.
        """
        ends_batch = self.site is not None and self.site.command in ENDS_OF_BATCHES
        return self.reference is IDLE or (ends_batch and self._is_late)

    @property
    def _is_late(self) -> bool:
        return self.outcome is not None and self.outcome.is_late

    async def _hire(self, crew: Crew) -> Worker:
        """Start the worker, as a supervisor does: again, where its start was refused."""
        options: dict[str, Any] = {"lease": SHORT_LEASE if self._leases_pass else LEASE}
        while True:
            try:
                worker, _ = await crew.hire(**options)
            except BackendError as error:
                self._refused_starts += 1
                # One that is held up for longer than a start waits has no server, either.
                may_fail = self.outcome is not None and self.outcome.leaves_to_lease
                if not may_fail or self._refused_starts > 1:
                    self._problems.append(f"the worker's start was refused: {error}")
                    if self._refused_starts > 3:
                        raise
            else:
                return worker

    async def _nurse(self, crew: Crew, near: RedisFlow, tasks: set[asyncio.Task[Any]], run_id: str) -> None:
        """Wait for all of it, and do what time would: leases end, and what is held up arrives."""
        pending, patience_s = tasks, LOOK_S
        while pending:
            _, pending = await asyncio.wait(pending, timeout=patience_s)
            if not pending or self._rule is None or not self._rule.fired or self.outcome is None:
                continue
            if self.outcome.is_overtaken:
                if await _has_ended(near, run_id):
                    self._rule.release()
            elif self.outcome.is_late and not self._has_arrived:
                self._has_arrived = True
                if self.site is not None and self.site.who == "worker":
                    await self._take_over(crew, near, run_id)
                self._rule.release()
            elif self.outcome.leaves_to_lease and not self._leases_pass:
                await self._age(crew, near)
                patience_s *= 3  # whoever has it now needs time for it

    async def _take_over(self, crew: Crew, near: RedisFlow, run_id: str) -> None:
        """Another worker has the run before the call arrives. The first may have it again: it is at work, too."""
        url, crew.url = crew.url, self.url
        if self._leases_pass:
            helper, _ = await crew.hire(lease=SHORT_LEASE)
            await self._wait_for_end(near, run_id, within_s=HELD_S)
        else:
            await self._age(crew, near)
            helper, _ = await crew.hire(lease=LEASE)
            patience_s = LOOK_S
            while not await self._wait_for_end(near, run_id, within_s=patience_s):
                await self._age(crew, near)
                patience_s *= 3  # whoever has it now needs time for it
        await crew.dismiss(helper)
        crew.url = url

    async def _wait_for_end(self, near: RedisFlow, run_id: str, *, within_s: float) -> bool:
        for _ in range(round(within_s * 50)):
            if await _has_ended(near, run_id):
                return True
            await asyncio.sleep(0.02)  # between two looks
        return False

    async def _age(self, crew: Crew, near: RedisFlow) -> None:
        self._aged += 1

        def age() -> None:
            crew.age(presence=False)
            for number in range(crew.partitions):
                for worker in crew.workers:  # they live: none of this is a crash
                    self.raw("ZADD", f"rf:{{{self._namespace}:{number}}}:workers", 1 << 52, worker.name)

        await asyncio.to_thread(age)
        await crew.reclaim(near.backend)

    async def _is_at_work(self, crew: Crew, near: RedisFlow, worker: Worker, probe: Any) -> None:
        """A worker that lost one of its parts would be found out here."""
        ended = asyncio.create_task(worker.wait())
        handle = await probe.run()
        found = asyncio.create_task(handle.result())
        nursing = asyncio.create_task(self._nurse(crew, near, {found}, handle.id))
        await asyncio.wait({ended, nursing}, timeout=WITHIN_S / 2, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            self._problems.append(f"the worker has stopped: {ended.exception()}")
        elif not found.done():
            self._problems.append("the worker has not stopped, and does not work")
        await _cancel(ended, found, nursing)

    async def _sweep(self, near: RedisFlow, crew: Crew) -> list[str]:
        """Do what the workers had still to do; returns what is left. What was held up may only just arrive."""
        await asyncio.to_thread(crew.age)
        for _ in range(SWEEPS):
            await sweep(near, crew, age=False)
            left = await asyncio.to_thread(leftovers, self.raw, self._namespace, self.reference.partitions)
            if not left:
                return []
            await asyncio.sleep(0.05)
        return left

    async def _check(self, near: RedisFlow, client: Client, crew: Crew, handle: Any, told: tuple[str, Any]) -> None:
        reference, found = self.reference, self._problems
        run = await near.get_run(handle.id)
        # A short lease may end by itself on a busy machine, as often as it likes.
        most = 1_000 if self._leases_pass else 2 + self._aged
        found += _problems(reference, run, crew.journal, most=most)
        expected = reference.output if reference.status == "succeeded" else reference.error or None
        if told != (reference.status, expected):
            found.append(f"its client was told {told}, not {(reference.status, expected)}")
        may_repeat = self._aged or self._refused_starts or self._leases_pass
        twice = [start for start, count in Counter(crew.journal.starts).items() if count > 1]
        if twice and not may_repeat:
            found.append(f"bodies started twice without a lease that ended: {twice}")
        definition = crew.registry.find(reference.name, None)
        assert definition is not None
        said_by = await near.get_handle(handle.id, definition.spec)
        if self.outcome is not None and self.outcome.refused_as and self.site and self.site.command == "emit_events":
            found += await _problems_of_part(reference, said_by)
        else:
            await _check_outputs(reference, said_by, "what it said")
        made = await asyncio.to_thread(self._count_runs)
        if made != 1:
            found.append(f"{made} runs were made")
        self._check_errors(client)
        found += await asyncio.to_thread(audit, self.raw, self._namespace, reference.partitions)
        if not found:
            await asyncio.to_thread(self._delete_all)

    @property
    def _prefixes(self) -> list[str]:
        return [f"rf:{{{self._namespace}:{number}}}:" for number in range(self.reference.partitions)]

    def _count_runs(self) -> int:
        name = self.reference.name
        listings = (f"runs:{name}", *(f"done:{name}:{status}" for status in _DONE))
        return sum(int(self.raw("ZCARD", prefix + listing)) for prefix in self._prefixes for listing in listings)

    def _delete_all(self) -> None:
        """So that looking for keys does not take ever longer."""
        for prefix in self._prefixes:
            self.raw("UNLINK", *self.raw("KEYS", f"{prefix}*"))

    def _check_errors(self, client: Client) -> None:
        """A client is told of a refusal in a word of redisflow's, and of nothing else."""
        allowed = None if self.outcome is None else self.outcome.refused_as
        is_its = self.site is not None and self.site.who == "client" and self._rule is not None and self._rule.fired
        for error in client.errors:
            if not is_its or allowed is None or not isinstance(error, allowed):
                self._problems.append(f"its client was told {type(error).__name__}: {error}")
        must_tell = is_its and allowed is not None and self.site is not None and self.site.command in _TELLS
        if must_tell and len(client.errors) != 1:
            self._problems.append(f"its client was not told that {self.site} was refused: {client.errors}")


_DONE = ("succeeded", "failed", "canceled")
_TELLS = frozenset({"create_run", "cancel_run", "signal_run", "await_run"})
"""Calls of a client whose refusal is the caller's to hear."""


async def _problems_of_part(reference: Reference, handle: WorkflowHandle[Any]) -> list[str]:
    """What bodies say is dropped where the server refuses it; the rest is in order, and the code's is all there."""
    events = [event async for event in handle.events(live=False)]
    found = [] if [event.data for event in events if event.step is None] == reference.said else ["its code said else"]
    for key, tokens in reference.tokens.items():
        said = [event.data for event in events if event.step == key]
        rest = iter(tokens * 2)
        if not all(token in rest for token in said):
            found.append(f"{key} said {said}")
    return found


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _has_ended(near: RedisFlow, run_id: str) -> bool:
    end = await near.backend.get_end(run_id)
    return end is not None and end.status in _DONE


def _probe(flow: RedisFlow) -> Any:
    async def look() -> str:
        return "done"

    @flow.define_workflow("probe")
    async def probe(step: Step) -> str:
        await step.sleep("nap", "5ms")
        return await step.run("look", look)

    return probe
