"""The namespace: is it there, may we work in it, and what does nobody serve."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from redisflow.checks.finding import Finding
from redisflow.client.controls import Control, Controls
from redisflow.errors import BackendError, BackendUnavailable, NamespaceNotFound
from redisflow.words import counted, first_of

if TYPE_CHECKING:
    from redisflow.backend.redis_backend import RedisBackend
    from redisflow.contract import Backend
    from redisflow.fleet import StrandedReport

SHOWN = 5
"""Lines of one kind."""
GROUP = "namespace"


async def check_namespace(backend: RedisBackend) -> AsyncIterator[Finding]:
    """Open it, where it is there, and look around. BackendUnavailable."""
    try:
        await backend.open()
    except NamespaceNotFound:
        fix = "a worker that starts makes it; if you meant another one: --namespace NAME"
        yield Finding(GROUP, "there", "warn", f"{backend.namespace} is not there yet", fix)
        return
    except BackendUnavailable:
        raise
    except BackendError as error:
        yield Finding(GROUP, "open", "fail", str(error), _fix_of(error))
        return
    yield Finding(GROUP, "there", "ok", f"{backend.namespace}, {counted(backend.partitions, 'partition')}")
    yield Finding(GROUP, "layout", "ok", f"{backend.layout}, which this version knows")
    yield Finding(GROUP, "scripts", "ok", "they run, each is sent when it is first called")
    if backend.may_write:
        yield Finding(GROUP, "rights", "ok", "all that workers and clients need")
    else:
        says = "this user may only read: good for looking, not for workers and starts"
        yield Finding(GROUP, "rights", "warn", says, f"give a worker's user acl_rule({backend.namespace!r})")
    report = await backend.fleet.find_stranded(detailed=True, look_at=None)
    for finding in check_fleet(report):
        yield finding
    for finding in check_controls(await Controls(_same(backend)).list()):
        yield finding
    yield await _check_losses(backend)


def _same(backend: RedisBackend) -> Callable[[], Awaitable[Backend]]:
    async def connected() -> Backend:
        return backend

    return connected


def _fix_of(error: BackendError) -> str:
    if "acl_rule" in str(error):
        return "`ACL SETUSER` with that rule"
    return "see what the message names"


def check_fleet(report: StrandedReport) -> Iterator[Finding]:
    """Who works, and what nobody serves."""
    workers = report.workers
    alive = f"{counted(len(workers), 'worker')} alive"
    if workers:
        yield Finding(GROUP, "workers", "ok", f"{alive}: {first_of([worker.name for worker in workers], 3)}")
    elif report.workflows or report.queues:
        yield Finding(GROUP, "workers", "fail", "none is alive, and runs wait", "`redisflow worker MODULE:NAME`")
    else:
        yield Finding(GROUP, "workers", "ok", "none is alive, and no run waits")
    for name, lines, fix in (
        ("stranded", report.runs, "deploy a worker that has this code; they go on by themselves then"),
        ("unserved", report.workflows, "start a worker with this workflow and version, or cancel its runs"),
        ("unread queue", report.queues, "start a worker with --queues"),
    ):
        for line in lines[:SHOWN]:
            yield Finding(GROUP, name, "warn", str(line), fix)
        if len(lines) > SHOWN:
            yield Finding(GROUP, name, "warn", f"and {len(lines) - SHOWN} more: `redisflow stranded`", fix)
    if report.is_clear:
        yield Finding(GROUP, "stranded", "ok", "no run, workflow or queue without a worker")


def check_controls(controls: Sequence[Control]) -> Iterator[Finding]:
    """What somebody holds back, and may have forgotten."""
    for control in controls[:SHOWN]:
        waiting = f", {counted(control.waiting, 'run')} wait" if control.waiting else ""
        says = f"{control.kind} {control.name} is {control.state}, since {control.since:%Y-%m-%d %H:%M} UTC{waiting}"
        yield Finding(GROUP, "held back", "warn", says, f"`redisflow {control.kind} resume {control.name}`")
    if len(controls) > SHOWN:
        says = f"and {len(controls) - SHOWN} more: `redisflow queue list`, `redisflow workflow list`"
        yield Finding(GROUP, "held back", "warn", says)
    if not controls:
        yield Finding(GROUP, "held back", "ok", "no queue and no workflow is paused")


async def _check_losses(backend: RedisBackend) -> Finding:
    losses = await backend.durability.list_losses()
    if not losses:
        return Finding(GROUP, "losses", "ok", "no acknowledged write is known to be lost")
    fix = "runs fell back to an earlier state: docs/durability.md says which level prevents it"
    return Finding(GROUP, "losses", "warn", f"{counted(len(losses), 'time')}, the last: {losses[0]}", fix)
