"""`redisflow workers` and `redisflow stranded`: who works on what, who is sent home, and what nobody serves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from redisflow import documents
from redisflow.cli.asking import is_meant, named
from redisflow.cli.exits import EXIT_FAILED, EXIT_NOT_FOUND, WaitedTooLong
from redisflow.cli.find_runs import as_duration
from redisflow.cli.given import PLAIN, Given
from redisflow.cli.output import Column, note, took
from redisflow.cli.progress import progress
from redisflow.durations import to_ms
from redisflow.words import counted

if TYPE_CHECKING:
    from redisflow.contract import Backend

LOOK_S = 0.5
"""Between two looks at workers that drain."""


async def list_workers(
    *,
    gone: Annotated[bool, Parameter(negative=(), help="those of the last hour that ended without a word, too")] = False,
    given: Given = PLAIN,
) -> None:
    """List the workers that are alive: what they serve, and how many runs each holds."""
    async with given.connect() as backend:
        workers = [worker for worker in await backend.fleet.list_workers() if gone or worker.is_alive]
    out = given.out
    columns = (
        Column("NAME", lambda row: row["id"]),
        Column("HOST", lambda row: row["host"], may_shrink=True, spare=2),
        Column("PID", lambda row: str(row["pid"]), right=True, spare=2),
        Column("RUNS", lambda row: f"{row['held']} of {row['concurrency']}", right=True),
        Column("QUEUES", lambda row: ", ".join(row["queues"]), may_shrink=True, spare=1),
        Column("WORKFLOWS", lambda row: ", ".join(_place(each) for each in row["workflows"]), may_shrink=True, spare=1),
        Column(
            "SEEN", lambda row: out.when(row["seen_at"]) if row["is_alive"] else f"gone, {out.when(row['seen_at'])}"
        ),
        Column("STATE", lambda row: "drains" if row["is_draining"] else ""),
    )
    out.rows(columns, [documents.of_worker(worker) for worker in workers])
    if not workers and out.form == "table":
        note("no worker is alive")


async def list_held(
    *,
    most: Annotated[int, Parameter(name="--limit", alias="-l", help="runs of each worker, at most")] = 10,
    given: Given = PLAIN,
) -> None:
    """List runs that workers hold now: of each worker some.

    IDLE is how long ago a worker took the run up, or renewed its lease: a worker that is alive does so four times in a
    lease, and a run whose lease is over is given to another one.
    """
    async with given.flow() as flow:
        held = await flow.held_runs(most=most)
    columns = (
        Column("ID", lambda row: row["id"]),
        Column("WORKER", lambda row: row["worker"], may_shrink=True),
        Column("IDLE", lambda row: took(row["idle_s"]), right=True),
    )
    given.out.rows(columns, [documents.of_held_run(each) for each in held])
    if not held and given.out.form == "table":
        note("no worker holds a run")


async def drain(
    names: Annotated[tuple[str, ...], Parameter(help="as `redisflow workers list -o id` prints them")] = (),
    /,
    *,
    all_alive: Annotated[bool, Parameter(name="--all", negative=(), help="all that are alive now")] = False,
    wait: Annotated[bool, Parameter(negative=(), help="until they have stopped")] = False,
    within: Annotated[str | None, Parameter(name="--timeout", help="how long to wait; they drain on")] = None,
    yes: Annotated[bool, Parameter(alias="-y", negative=(), help="do not ask")] = False,
    dry_run: Annotated[bool, Parameter(negative=(), help="say which, and do nothing")] = False,
    given: Given = PLAIN,
) -> int:
    """Let workers claim nothing more, and stop as on SIGTERM: within a quarter of a lease they hear of it.

    What they hold may go on for their grace; the rest is handed to other workers.
    """
    if bool(names) == all_alive:
        msg = "say which workers to drain: their names, or --all"
        raise ValueError(msg)
    within_s = None if within is None else to_ms(as_duration(within) or 0, what="--timeout") / 1000
    async with given.connect() as backend:
        alive = {worker.name for worker in await backend.fleet.list_workers() if worker.is_alive}
        wanted = sorted(alive) if all_alive else list(dict.fromkeys(names))
        if dry_run:
            note(f"would drain {counted(len(wanted), 'worker')}{named(wanted)}")
            return 0
        if not is_meant(f"drain {counted(len(wanted), 'worker')}", wanted, is_sure=yes or not (all_alive and wanted)):
            return EXIT_FAILED
        told = [(name, await backend.fleet.drain_worker(name)) for name in wanted]
        given.out.rows(
            (
                Column("NAME", lambda row: row["id"]),
                Column("DRAINS", lambda row: "yes" if row["is_told"] else "not alive"),
            ),
            [{"id": name, "is_told": is_told} for name, is_told in told],
        )
        if wait:
            await _wait_until_gone(backend, {name for name, is_told in told if is_told}, within_s)
    return 0 if all(is_told for _, is_told in told) else EXIT_NOT_FOUND


async def _wait_until_gone(backend: Backend, names: set[str], within_s: float | None) -> None:
    left = sorted(names)
    with progress("drain", len(names)) as tell:
        try:
            async with asyncio.timeout(within_s):
                while left:
                    await asyncio.sleep(LOOK_S)
                    alive = {worker.name for worker in await backend.fleet.list_workers() if worker.is_alive}
                    left = sorted(names & alive)
                    tell(len(names) - len(left))
        except TimeoutError:
            msg = f"the time to wait is over, and they drain on: {counted(len(left), 'worker')}{named(left)}"
            raise WaitedTooLong(msg) from None


async def stranded(
    *,
    detailed: Annotated[bool, Parameter(negative=(), help="tell versions apart, run by run")] = False,
    given: Given = PLAIN,
) -> None:
    """What no live worker serves, and why."""
    async with given.connect() as backend:
        report = await backend.fleet.find_stranded(detailed=detailed, look_at=None)
    given.out.one(documents.of_stranded(report), lambda: str(report))


def _place(workflow: dict[str, str | None]) -> str:
    return f"{workflow['name']} {workflow['version']}" if workflow["version"] else str(workflow["name"])
