"""`redisflow queue pause`, `redisflow workflow pause`, and resume: holding back the runs of a queue or a workflow.

What is asked for is done and told first: whether the name is known is looked at afterwards, and must not delay it.
"""

from __future__ import annotations

import asyncio

from redisflow.cli.arguments import QueueName, WorkflowName
from redisflow.cli.given import PLAIN, Given
from redisflow.cli.output import note
from redisflow.fleet import Fleet


async def pause_queue(queue: QueueName, /, *, given: Given = PLAIN) -> None:
    """Take up no run from this queue from now on; those that a worker holds go on until they wait."""
    async with given.flow() as flow:
        await flow.controls.pause(queue=queue)
        note(f"queue {queue} is paused")
        queues, workers = await asyncio.gather(flow.queues(), flow.workers())
    is_empty = not any(each.name == queue and each.ready + each.held for each in queues)
    if is_empty and not any(queue in worker.queues for worker in workers):
        note(f"no run is in queue {queue}, and no live worker reads it: `redisflow queue list` names all")


async def resume_queue(queue: QueueName, /, *, given: Given = PLAIN) -> None:
    """Let its runs be taken up again."""
    async with given.flow() as flow:
        await flow.controls.resume(queue=queue)
    note(f"queue {queue} goes on")


async def pause_workflow(workflow: WorkflowName, /, *, given: Given = PLAIN) -> None:
    """Take up no run of this workflow from now on; those that a worker holds go on until they wait."""
    async with given.flow() as flow:
        await flow.controls.pause(workflow=workflow)
        note(f"workflow {workflow} is paused")
        counts, workers = await asyncio.gather(flow.count_runs(), flow.workers())
    if workflow not in counts.workflows and not Fleet(workers).versions_of(workflow):
        note(f"no run of {workflow} is stored, and no live worker serves it: `redisflow workflow list` has the names")


async def resume_workflow(workflow: WorkflowName, /, *, given: Given = PLAIN) -> None:
    """Let its runs be taken up again."""
    async with given.flow() as flow:
        await flow.controls.resume(workflow=workflow)
    note(f"workflow {workflow} goes on")
