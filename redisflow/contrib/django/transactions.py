"""Starting a run when a transaction commits, and not when it is rolled back."""

from __future__ import annotations

from typing import Any, TypeVar, Unpack, overload

from django.db import transaction

from redisflow.authoring.definition import WorkflowSpec
from redisflow.client.start import RunOptions, StartOptions, prepare_start, start_prepared
from redisflow.client.workflow import Workflow
from redisflow.contrib.django.configured import get_flow

In = TypeVar("In")
Out = TypeVar("Out")


@overload
def run_on_commit(
    workflow: WorkflowSpec[None, Any] | Workflow[None, Any],
    value: None = None,
    /,
    *,
    using: str | None = None,
    **options: Unpack[RunOptions],
) -> None: ...
@overload
def run_on_commit(
    workflow: WorkflowSpec[In, Any] | Workflow[In, Any],
    value: In,
    /,
    *,
    using: str | None = None,
    **options: Unpack[RunOptions],
) -> None: ...


def run_on_commit(
    workflow: WorkflowSpec[Any, Any] | Workflow[Any, Any],
    value: Any = None,
    /,
    *,
    using: str | None = None,
    **options: Unpack[RunOptions],
) -> None:
    """Start a run once the open transaction has committed (at once where none is open), and never if it rolls back.

    The input is validated, and taken as it is, now: InvalidInput fails the transaction. What Redis refuses later is
    raised where the transaction was committed, as Django does with callbacks; the database keeps what it committed. A
    process that dies between the two starts no run: where that matters, start what a query finds to be missing, with
    the same `idempotency_key`. `using` names the database.
    """
    spec = workflow.spec if isinstance(workflow, Workflow) else workflow
    start, flow = StartOptions(**options), get_flow()
    prepared = prepare_start(spec, value, start, queue_limits=flow.queue_limits)

    async def start_run() -> None:
        await start_prepared(await flow.open(), spec, prepared, start)

    transaction.on_commit(lambda: flow.sync.call(start_run), using=using)
