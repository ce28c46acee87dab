"""`redisflow queue pause`, `redisflow workflow pause`, and resume: holding back the runs of a queue or a workflow."""

from __future__ import annotations

from redisflow.cli.arguments import QueueName, WorkflowName
from redisflow.cli.given import PLAIN, Given
from redisflow.cli.output import note


async def pause_queue(queue: QueueName, /, *, given: Given = PLAIN) -> None:
    """Take up no run from this queue from now on; those that a worker holds go on until they wait."""
    async with given.flow() as flow:
        await flow.controls.pause(queue=queue)
    note(f"queue {queue} is paused")


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


async def resume_workflow(workflow: WorkflowName, /, *, given: Given = PLAIN) -> None:
    """Let its runs be taken up again."""
    async with given.flow() as flow:
        await flow.controls.resume(workflow=workflow)
    note(f"workflow {workflow} goes on")
