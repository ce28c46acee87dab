"""Workflows, queues, workers, schedules, and what nobody serves."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

from redisflow import documents
from redisflow.dashboard.api.bodies import Broadcast, Nothing
from redisflow.dashboard.api.endpoint import Call, Reply
from redisflow.dashboard.api.params import Detailed, ListWorkers, NoParams, Since


async def list_workflows(call: Call[Detailed, Nothing]) -> Any:
    """The workflows that have runs, and how many in which status."""
    counts = await call.services.flow.count_runs(detailed=call.params.detailed)
    return {"workflows": [documents.of_counts(name, each) for name, each in sorted(counts.workflows.items())]}


async def list_queues(call: Call[NoParams, Nothing]) -> Any:
    """What lies in each queue."""
    return {"queues": [documents.of_queue(queue) for queue in await call.services.flow.queues()]}


async def list_workers(call: Call[ListWorkers, Nothing]) -> Any:
    """The workers that are alive, each with some of the runs that it holds, up to ten."""
    flow = call.services.flow
    workers, held = await asyncio.gather(flow.workers(gone=call.params.gone), flow.held_runs())
    run_ids: dict[str, list[str]] = defaultdict(list)
    for each in held:
        run_ids[each.worker].append(each.run_id)
    return {"workers": [documents.of_worker(worker) | {"run_ids": run_ids[worker.name]} for worker in workers]}


async def list_stranded(call: Call[Detailed, Nothing]) -> Any:
    """What no live worker serves, and why."""
    return documents.of_stranded(await call.services.flow.stranded(detailed=call.params.detailed))


async def list_schedules(call: Call[NoParams, Nothing]) -> Any:
    """The schedules with their next ticks."""
    return {"schedules": [documents.of_schedule(each) for each in await call.services.flow.schedules.list()]}


async def read_metrics(call: Call[Since, Nothing]) -> Any:
    """What happened in each minute, as workers count it."""
    minutes = await call.services.flow.minutes(call.params.since)
    return {"minutes": [documents.of_minute(minute) for minute in minutes]}


async def drain_worker(call: Call[NoParams, Nothing]) -> Any:
    """Tell a worker to claim nothing more and to stop: what it cannot finish in its grace goes to others."""
    await call.services.actions.drain_worker(call.identity, call.name)
    return _done(call, "drain")


async def broadcast(call: Call[NoParams, Broadcast]) -> Any:
    """Send a signal to every run that waits for its name now; `run_ids` are the first 10,000 of them."""
    sent = await call.services.actions.broadcast(
        call.identity, call.name, call.body.data, idempotency_key=call.body.key
    )
    return {"id": call.name, "count": sent.count, "run_ids": list(sent.run_ids)}


async def pause_queue(call: Call[NoParams, Nothing]) -> Any:
    """Take up no run from this queue from now on. Safe to repeat."""
    await call.services.actions.pause_queue(call.identity, call.name)
    return _done(call, "pause")


async def resume_queue(call: Call[NoParams, Nothing]) -> Any:
    """Let its runs be taken up again. Safe to repeat."""
    await call.services.actions.resume_queue(call.identity, call.name)
    return _done(call, "resume")


async def pause_workflow(call: Call[NoParams, Nothing]) -> Any:
    """Take up no run of this workflow from now on. Safe to repeat."""
    await call.services.actions.pause_workflow(call.identity, call.name)
    return _done(call, "pause")


async def resume_workflow(call: Call[NoParams, Nothing]) -> Any:
    """Let its runs be taken up again. Safe to repeat."""
    await call.services.actions.resume_workflow(call.identity, call.name)
    return _done(call, "resume")


async def pause_schedule(call: Call[NoParams, Nothing]) -> Any:
    """Start nothing from now on. Safe to repeat."""
    await call.services.actions.pause_schedule(call.identity, call.name)
    return _done(call, "pause")


async def resume_schedule(call: Call[NoParams, Nothing]) -> Any:
    """Go on with the next tick. Safe to repeat."""
    await call.services.actions.resume_schedule(call.identity, call.name)
    return _done(call, "resume")


async def trigger_schedule(call: Call[NoParams, Nothing]) -> Any:
    """Start a run of it now; `run_id` is null where it was skipped because the run before has not ended."""
    run_id = await call.services.actions.trigger_schedule(call.identity, call.name)
    return _done(call, "trigger", run_id, status=200 if run_id is None else 201)


async def delete_schedule(call: Call[NoParams, Nothing]) -> Any:
    """Delete it; its runs stay."""
    await call.services.actions.delete_schedule(call.identity, call.name)


def _done(call: Call[Any, Any], action: str, run_id: str | None = None, *, status: int = 200) -> Reply:
    return Reply({"id": call.name, "action": action, "run_id": run_id}, status)
