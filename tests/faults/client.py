"""A client that does what a careful user does: what was refused or not answered is called again, with the same key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from redisflow import RedisFlow, WorkflowCanceled, WorkflowFailed, WorkflowHandle
from redisflow.errors import BackendError

T = TypeVar("T")
ATTEMPTS = 4


class Client:
    """A flow whose calls are made again; what they raised is remembered."""

    def __init__(self, flow: RedisFlow) -> None:
        self._flow = flow
        self.errors: list[BackendError] = []

    def __getattr__(self, name: str) -> Any:
        """Everything else is the flow's own."""
        return getattr(self._flow, name)

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        for _ in range(ATTEMPTS):
            try:
                return await call()
            except BackendError as error:
                self.errors.append(error)
                await asyncio.sleep(0.01)
        return await call()

    async def run_workflow(self, name: str, **options: Any) -> WorkflowHandle[Any]:
        return await self._insist(lambda: self._flow.run_workflow(name, idempotency_key="once", **options))

    async def signal(self, *what: Any, **options: Any) -> None:
        await self._insist(lambda: self._flow.signal(*what, **options))

    async def cancel_workflow_run(self, run_id: str) -> bool:
        return await self._insist(lambda: self._flow.cancel_workflow_run(run_id))

    async def end_of(self, handle: WorkflowHandle[Any]) -> tuple[str, Any]:
        """Status and output, or the error's type, as a caller of `result()` is told."""
        try:
            return "succeeded", await self._insist(handle.result)
        except WorkflowFailed as error:
            return "failed", error.failure.error_type.rpartition(".")[2]
        except WorkflowCanceled:
            return "canceled", None
