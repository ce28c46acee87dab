"""The processes of a simulation: workers that are hired, killed, stopped; and the clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

from redisflow import RedisFlow
from redisflow.errors import BackendError
from redisflow.worker.worker import Worker
from tests.faults.simulation.checker import Checker
from tests.faults.simulation.loop import Process, SimulatedLoop, State
from tests.faults.simulation.network import Network
from tests.faults.simulation.plan import Plan
from tests.faults.simulation.threads import InlineExecutor
from tests.faults.simulation.workload import define

URL = "redis://simulated:6379"
NAMESPACE = "sim"


class Member:
    """A process with a flow of its own."""

    def __init__(self, crew: Crew, name: str, *, old: bool = False) -> None:
        self.process = Process(crew.loop, name)
        self.old = old
        self._crew = crew
        self.flow, self.workflows = self.process.context.run(self._make)

    def _make(self) -> tuple[RedisFlow, dict[str, Any]]:
        plan = self._crew.plan
        flow = RedisFlow(URL, namespace=NAMESPACE, partitions=plan.partitions)
        return flow, define(flow, self, old=self.old, schedule_every_s=plan.schedule_every_s)

    def body_began(self, body: Any) -> None:
        self._crew.checker.body_began(body, self.process)

    def body_ended(self, body: Any) -> None:
        self._crew.checker.body_ended(body)

    @property
    def is_alive(self) -> bool:
        return self.process.state is not State.DEAD


class WorkerMember(Member):
    """A worker process."""

    worker: Worker | None = None
    is_leaving = False

    async def work(self) -> None:
        """To be run in the process: until it is stopped or killed. A worker that cannot start begins anew."""
        while True:
            worker = self.flow.new_worker(lease=self._crew.plan.lease_s, grace=1, concurrency=6)
            worker.name = f"simulated-{self.process.name:>08}".replace(" ", "0")
            inline = InlineExecutor(self._crew.loop, self._crew.pause_s)
            worker.bodies.executor = inline  # type: ignore[assignment]  # an executor, but no pool of threads
            try:
                await worker.start()
            except BackendError as error:
                self._crew.happened(f"a worker could not start: {type(error).__name__}")
                await asyncio.sleep(0.5)
                continue
            self.worker = worker
            try:
                await worker.wait()
            except Exception as error:
                self._crew.checker.problem(f"L4 worker {self.process.name} has failed: {error!r}")
            return

    async def leave(self) -> None:
        """SIGTERM."""
        self.is_leaving = True
        if self.worker is not None:
            await self.worker.stop()
        await self.flow.close()


class Crew:
    """All of them."""

    def __init__(self, plan: Plan, loop: SimulatedLoop, network: Network, checker: Checker) -> None:
        self.plan = plan
        self.loop = loop
        self.network = network
        self.checker = checker
        self.workers: list[WorkerMember] = []
        self.clients = [Member(self, f"client{number}") for number in range(plan.clients)]
        self.happened: Callable[[str], None] = lambda _: None
        self._rng = Random(f"{plan.seed} crew")
        self._hired = 0

    def pause_s(self) -> float:
        return self._rng.random() * 0.01

    def hire(self, *, old: bool = False) -> WorkerMember:
        self._hired += 1
        member = WorkerMember(self, f"worker{self._hired}", old=old)
        self.workers.append(member)
        member.process.spawn(member.work(), "work")
        return member

    def living(self) -> list[WorkerMember]:
        return [member for member in self.workers if member.is_alive and not member.is_leaving]

    def kill(self, member: WorkerMember) -> None:
        member.process.kill()
        self.network.process_died(member.process)
        self.checker.process_died(member.process)
        self.workers.remove(member)
