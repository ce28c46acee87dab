"""What clients do, what they are told, and whether that was true: S2, S9 to S12, S16, S22."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any

from redisflow import codec
from redisflow.errors import (
    BackendUnavailable,
    BackpressureError,
    IdempotencyConflict,
    RedisflowError,
    ResultTimeout,
    RunAlreadyActive,
    RunEnded,
    RunNotFinished,
    RunNotFound,
    RunStateConflict,
    ScheduleNotFound,
    StepNotFound,
    WorkflowCanceled,
    WorkflowFailed,
)
from tests.faults.simulation.checker import Checker
from tests.faults.simulation.crew import Crew, Member
from tests.faults.simulation.invariants import TERMINAL
from tests.faults.simulation.loop import SimulatedLoop
from tests.faults.simulation.plan import Act, Plan, PlannedRun
from tests.faults.simulation.workload import Failed, expected, fits, signals_of

TRANSIENT = (BackendUnavailable, BackpressureError)
AGAIN_S = 0.3


class Clients:
    """Of one simulation."""

    def __init__(self, plan: Plan, loop: SimulatedLoop, crew: Crew, checker: Checker) -> None:
        self._plan = plan
        self._loop = loop
        self._crew = crew
        self._checker = checker
        self._ids: dict[int, str] = {}
        """By planned run: the id that a start was given."""
        self._handles: dict[int, Any] = {}
        self._ends: dict[int, list[tuple[str, Any]]] = {}
        self._canceled: list[tuple[str, bool]] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._signalled: set[str] = set()
        self._disturbed: set[str] = set()
        self._deleted: set[str] = set()
        self._finishing: asyncio.Task[Any] | None = None

    def _spawn(self, member: Member, work: Coroutine[Any, Any, Any], name: str) -> None:
        task = member.process.spawn(self._guarded(work, name), name)
        self._tasks.append(task)

    async def _guarded(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        try:
            await work
        except Exception as error:
            self._checker.problem(f"{name}: {error!r}")

    def begin(self) -> None:
        for number, planned in enumerate(self._plan.runs):
            for starter in range(planned.starters):
                member = self._crew.clients[(number + starter) % len(self._crew.clients)]
                self._spawn(member, self._start(member, number, planned), f"start {number}")
        for number, act in enumerate(self._plan.acts):
            member = self._crew.clients[number % len(self._crew.clients)]
            self._spawn(member, self._act(member, number, act), f"{act.verb} {act.run}")

    # -- starting -------------------------------------------------------------------------------------------------

    async def _start(self, member: Member, number: int, planned: PlannedRun) -> None:
        await asyncio.sleep(planned.at_s)
        options: dict[str, Any] = {"idempotency_key": f"run-{number}"}
        if planned.unique:
            options = {"unique_key": "one"}
        if planned.deadline_s is not None:
            options["deadline_at"] = planned.deadline_s
        if planned.priority is not None:
            options["priority"] = planned.priority
        if planned.delay_s is not None:
            options["available_at"] = planned.delay_s
        while True:
            try:
                handle = await member.workflows[planned.workflow].run(planned.program, **options)
                break
            except TRANSIENT:
                await asyncio.sleep(AGAIN_S)
            except IdempotencyConflict:
                if not self._checker.runs.lost_data:
                    raise
                return  # the key was lost with its run, and then another input was let in: see `_conflict`
        runs = self._checker.runs
        self._checker.checked["S10"] += 1
        if handle.id not in runs.runs and handle.id not in runs.gone and not runs.lost_data:
            self._checker.problem(f"S10 run {handle.id} was acknowledged, and does not exist")
        first = self._ids.setdefault(number, handle.id)
        self._handles.setdefault(number, handle)
        if not planned.unique:
            self._checker.checked["S9"] += 1
            if first != handle.id and not runs.lost_data:
                self._checker.problem(f"S9 run {number}: one key gave {first} and {handle.id}")
        else:
            self._disturbed.add(handle.id)
        if planned.deadline_s is not None:
            self._disturbed.add(handle.id)
        await self._conflict(member, number, planned)
        await self._await_end(number, handle)

    async def _conflict(self, member: Member, number: int, planned: PlannedRun) -> None:
        """Another input under the same key is refused."""
        if planned.unique or number % 3 or self._checker.runs.lost_data:
            return
        other = [*planned.program, ["say", 1]]
        try:
            await member.workflows[planned.workflow].run(other, idempotency_key=f"run-{number}")
        except IdempotencyConflict:
            self._checker.checked["S9"] += 1
        except TRANSIENT:
            pass
        else:
            if self._ids[number] not in self._deleted and not self._checker.runs.lost_data:
                self._checker.problem(f"S9 run {number}: another input under its key was let in")

    async def _await_end(self, number: int, handle: Any) -> None:
        while True:
            try:
                end = ("succeeded", await handle.result(timeout=20))
            except (*TRANSIENT, ResultTimeout):
                continue
            except WorkflowCanceled:
                end = ("canceled", None)
            except WorkflowFailed:
                end = ("failed", None)
            except RunNotFound:
                end = ("gone", None)
            self._ends.setdefault(number, []).append(end)
            return

    # -- acts -----------------------------------------------------------------------------------------------------

    async def _act(self, member: Member, number: int, act: Act) -> None:
        await asyncio.sleep(act.at_s)
        handle = self._handles.get(act.run)
        if handle is None:
            return
        mine = handle.on(await self._patiently(member.flow.open))
        run_id = handle.id
        for _ in range(20):
            try:
                await getattr(self, f"_do_{act.verb}")(mine, run_id, number)
                return
            except TRANSIENT:
                await asyncio.sleep(AGAIN_S)
            except (RunNotFound, RunAlreadyActive, RunEnded, RunStateConflict, RunNotFinished, StepNotFound):
                return

    async def _patiently(self, call: Any) -> Any:
        while True:
            try:
                return await call()
            except TRANSIENT:
                await asyncio.sleep(AGAIN_S)

    async def _do_cancel(self, handle: Any, run_id: str, _: int) -> None:
        self._disturbed.add(run_id)
        self._canceled.append((run_id, await handle.cancel()))

    async def _do_pause(self, handle: Any, run_id: str, _: int) -> None:
        await handle.pause()

    async def _do_resume(self, handle: Any, run_id: str, _: int) -> None:
        await handle.resume()

    async def _do_retry(self, handle: Any, run_id: str, _: int) -> None:
        self._disturbed.add(run_id)
        await handle.retry()

    async def _do_signal(self, handle: Any, run_id: str, _: int) -> None:
        fields = self._checker.runs.runs.get(run_id)
        if fields is None:
            return
        for number, name in enumerate(signals_of(codec.decode(fields.fields["i"]))):
            await handle.signal(name, f"{name} came #{number}", idempotency_key=f"{name} {number}")

    async def _do_rerun(self, handle: Any, run_id: str, number: int) -> None:
        await handle.rerun(idempotency_key=f"rerun-{number}")

    async def _do_fork(self, handle: Any, run_id: str, number: int) -> None:
        run = await handle.get()
        keys = [step.key for step in run.steps if step.kind == "run"]
        if keys:
            await handle.fork(keys[-1], idempotency_key=f"fork-{number}")

    async def _do_read(self, handle: Any, run_id: str, _: int) -> None:
        await handle.get()
        await handle.state()

    async def _do_delete(self, handle: Any, run_id: str, _: int) -> None:
        self._disturbed.add(run_id)
        await handle.delete()
        self._deleted.add(run_id)

    async def _do_repair(self, handle: Any, run_id: str, number: int) -> None:
        """Where nobody has taken hints away, nothing is found, and nothing done."""
        report = await self._crew.clients[number % len(self._crew.clients)].flow.audit(repair=True)
        self._checker.checked["T1-T9 audit"] += 1
        if not self._checker.hints_lost:
            for breach in [*map(str, report.breaches), *report.done]:
                self._checker.problem(f"an audit has found, or done: {breach}")

    async def _do_hold_workflow(self, handle: Any, run_id: str, number: int) -> None:
        fields = self._checker.runs.runs.get(run_id)
        if fields is not None:
            await self._hold(number, workflow=fields.fields["w"].decode())

    async def _do_hold_queue(self, handle: Any, run_id: str, number: int) -> None:
        await self._hold(number, queue="default")

    async def _hold(self, number: int, **what: str) -> None:
        controls = self._crew.clients[number % len(self._crew.clients)].flow.controls
        await self._patiently(lambda: controls.pause(**what))
        await asyncio.sleep(0.3)
        await self._patiently(lambda: controls.resume(**what))

    # -- the end --------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Whoever waits for somebody outside is given what it waits for."""
        member = self._crew.clients[0]
        self._finishing = member.process.spawn(self._guarded(self._finish(member), "finish"), "finish")

    async def _resume_again(self, member: Member) -> None:
        """The word of whoever let a workflow or a queue go on may be among what was lost."""
        names = {state.fields["w"].decode() for state in self._checker.runs.runs.values()}
        for name in sorted(names):
            await self._patiently(partial(member.flow.controls.resume, workflow=name))
        await self._patiently(lambda: member.flow.controls.resume(queue="default"))

    async def _finish(self, member: Member) -> None:
        if self._plan.schedule_every_s is not None:
            await asyncio.sleep(1)
            try:
                await self._patiently(lambda: member.flow.schedules.delete("tick"))
            except ScheduleNotFound:
                pass
        backend = await self._patiently(member.flow.open)
        if self._checker.runs.lost_data:
            await self._resume_again(member)
        while True:
            for run_id, state in list(self._checker.runs.runs.items()):
                if state.fields["s"] in TERMINAL:
                    continue
                try:
                    if state.status == "waiting:paused":
                        await backend.lifecycle.resume_run(run_id)
                    elif state.fields["w"] != b"tick":
                        await self._send_signals(member, run_id, codec.decode(state.fields["i"]))
                except TRANSIENT:
                    continue
                except RedisflowError:
                    continue
            await asyncio.sleep(0.4)

    async def _send_signals(self, member: Member, run_id: str, program: list[Any]) -> None:
        if run_id in self._signalled:
            return
        for number, name in enumerate(signals_of(program)):
            await member.flow.signal(run_id, name, f"{name} came #{number}", idempotency_key=f"{name} {number}")
        self._signalled.add(run_id)

    @property
    def are_done(self) -> bool:
        return all(task.done() for task in self._tasks)

    def end(self) -> None:
        """Nobody needs anything any more."""
        if self._finishing is not None:
            self._finishing.cancel()

    @property
    def undone(self) -> list[str]:
        return [f"a client still does: {task.get_name()}" for task in self._tasks if not task.done()]

    def check(self) -> None:
        """What clients were told is what is so at the end."""
        checker = self._checker
        runs = checker.runs
        for run_id, was_canceled in self._canceled:
            state = runs.runs.get(run_id) or runs.gone.get(run_id)
            if state is None or runs.lost_data:
                continue
            checker.checked["S12"] += 1
            if was_canceled and state.status != "canceled":
                checker.problem(f"S12 {run_id}: cancel() said it is canceled, it is {state.status}")
        for number, run_id in self._ids.items():
            state = runs.runs.get(run_id) or runs.gone.get(run_id)
            if state is None:
                continue
            self._check_ends(number, run_id, state)
        for run_id, state in runs.runs.items():
            if run_id not in self._disturbed and state.fields["w"] != b"tick" and not runs.lost_data:
                self._check_output(run_id, state)

    def _check_ends(self, number: int, run_id: str, state: Any) -> None:
        checker = self._checker
        for status, value in self._ends.get(number, []):
            if run_id in self._disturbed or status == "gone" or checker.runs.lost_data:
                continue
            checker.checked["S2"] += 1
            same = status == state.status and (
                status != "succeeded" or codec.encode(value) == state.fields.get("o", b"\xc0")
            )
            if not same:
                checker.problem(f"S2 {run_id} is {state.status}, a reader saw {status} {value!r}")

    def _check_output(self, run_id: str, state: Any) -> None:
        """A run that nobody disturbed ends as its program says."""
        program = codec.decode(state.fields["i"])
        cause = state.fields.get("ca", b"").decode()
        if "pa" in state.fields or cause == "poisoned":
            return  # its parent may have ended first; each crash that made it poisoned was one of ours
        self._checker.checked["S22"] += 1
        if state.status == "succeeded":
            value = codec.decode(state.fields.get("o", b"\xc0"))
            try:
                fine = fits(value, expected(program))
            except Failed:
                fine = False
            if not fine:
                self._checker.problem(f"S22 {run_id}: {program} gave {value}")
            return
        try:
            wanted = expected(program)
        except Failed:
            wanted = None
        if wanted is not None or state.status != "failed":
            self._checker.problem(f"S22 {run_id}: {program} is {state.status} {state.fields.get('er', b'')[:200]!r}")
