"""What is done to one run."""

from __future__ import annotations

from typing import Any

from redisflow.client.lifecycle import SAME_INPUT
from redisflow.dashboard.api.bodies import Fork, Nothing, Rerun, Retry, Signal, read_when
from redisflow.dashboard.api.endpoint import Call, Reply
from redisflow.dashboard.api.params import NoParams


async def cancel(call: Call[NoParams, Nothing]) -> Any:
    """Cancel a run; where it has compensations, it ends once they have. Safe to repeat."""
    await call.services.actions.cancel(call.identity, call.name)
    return _done(call, "cancel")


async def retry(call: Call[NoParams, Retry]) -> Any:
    """Let a failed run go on in place: it keeps the steps that succeeded."""
    said = call.body.deadline_at
    deadline_at = None if said is None else read_when(said)
    await call.services.actions.retry(call.identity, call.name, deadline_at=deadline_at)
    return _done(call, "retry")


async def rerun(call: Call[NoParams, Rerun]) -> Any:
    """Start a new run with the input of this one; `run_id` is the new one."""
    new = await call.services.actions.rerun(call.identity, call.name, idempotency_key=call.body.key)
    return _done(call, "rerun", new, status=201)


async def fork(call: Call[NoParams, Fork]) -> Any:
    """Start a new run that shares the beginning of this one; `run_id` is the new one."""
    body = call.body
    value = body.input if "input" in body.model_fields_set else SAME_INPUT
    new = await call.services.actions.fork(
        call.identity, call.name, body.from_step, input=value, steps=body.steps, idempotency_key=body.key
    )
    return _done(call, "fork", new, status=201)


async def signal(call: Call[NoParams, Signal]) -> Any:
    """Send a run a signal: it is stored, and taken once."""
    body = call.body
    await call.services.actions.signal(call.identity, call.name, body.name, body.data, idempotency_key=body.key)
    return _done(call, "signal")


async def pause(call: Call[NoParams, Nothing]) -> Any:
    """Let a run wait until it is resumed. Safe to repeat."""
    await call.services.actions.pause(call.identity, call.name)
    return _done(call, "pause")


async def resume(call: Call[NoParams, Nothing]) -> Any:
    """Let a paused run go on. Safe to repeat."""
    await call.services.actions.resume(call.identity, call.name)
    return _done(call, "resume")


async def delete(call: Call[NoParams, Nothing]) -> Any:
    """Delete a run that has ended, with all that is kept of it. Safe to repeat."""
    await call.services.actions.delete(call.identity, call.name)


def _done(call: Call[Any, Any], action: str, run_id: str | None = None, *, status: int = 200) -> Reply:
    return Reply({"id": call.name, "action": action, "run_id": run_id}, status)
