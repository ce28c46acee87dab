"""`flow.sync`: what a RedisFlow can do, for code that has no event loop. Nothing is done here but to wait for it.

What is used everywhere is written out with its types. Everything else, what comes later too, is reached by `call` and
`iterate`, which take the types of the async function that they are given.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable, Awaitable, Callable, Generator, Iterator, Sequence
from typing import Any, ParamSpec, Protocol, TypeGuard, TypeVar, Unpack, overload

from redisflow.authoring.definition import WorkflowSpec
from redisflow.client.audit import AuditProgress
from redisflow.client.handle import WorkflowHandle
from redisflow.client.start import RunOptions
from redisflow.client.workflow import Workflow
from redisflow.contract import Backend
from redisflow.durability import Loss
from redisflow.fleet import StrandedReport, WorkerInfo
from redisflow.runs import WorkflowRun
from redisflow.structure import AuditReport
from redisflow.sync.handle import SyncWorkflowHandle
from redisflow.sync.portal import Portal
from redisflow.worker.beside import work_beside
from redisflow.worker.options import OwnWorkerKeywords

In = TypeVar("In")
Out = TypeVar("Out")
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Flow(Protocol):
    """The part of a RedisFlow that is waited for here."""

    @property
    def run_workflow(self) -> Callable[..., Awaitable[WorkflowHandle[Any]]]:
        """See RedisFlow."""
        ...

    @property
    def new_worker(self) -> Callable[..., Any]:
        """See RedisFlow."""
        ...

    async def get_handle(self, run_id: str, workflow: Any) -> WorkflowHandle[Any]:
        """See RedisFlow."""
        ...

    async def get_run(self, run_id: str) -> WorkflowRun:
        """See RedisFlow."""
        ...

    async def cancel_workflow_run(self, run_id: str) -> bool:
        """See RedisFlow."""
        ...

    async def audit(self, *, repair: bool = False, progress: AuditProgress | None = None) -> AuditReport:
        """See RedisFlow."""
        ...

    async def list_losses(self) -> Sequence[Loss]:
        """See RedisFlow."""
        ...

    async def stranded(self, *, detailed: bool = False) -> StrandedReport:
        """See RedisFlow."""
        ...

    async def workers(self, *, gone: bool = False) -> list[WorkerInfo]:
        """See RedisFlow."""
        ...

    async def open(self) -> Backend:
        """See RedisFlow."""
        ...

    async def close(self) -> None:
        """See RedisFlow."""
        ...


class SyncFlow:
    """The same flow for scripts, Django, Flask and sync step bodies; call it from any thread that runs no event loop.

    All calls of a process go through one event loop in a background thread, which the first call starts, with a
    connection of its own. A forked child (gunicorn, multiprocessing) starts another one at its first call. Each method
    raises what the async one raises, and CalledInEventLoop in a thread that runs an event loop.
    """

    def __init__(self, flow: Flow) -> None:
        """Made by `RedisFlow`."""
        self._flow = flow
        self._portal = Portal(flow.close)

    @overload
    def run_workflow(
        self,
        workflow: WorkflowSpec[None, Out] | Workflow[None, Out],
        value: None = None,
        /,
        **options: Unpack[RunOptions],
    ) -> SyncWorkflowHandle[Out]: ...
    @overload
    def run_workflow(
        self, workflow: WorkflowSpec[In, Out] | Workflow[In, Out], value: In, /, **options: Unpack[RunOptions]
    ) -> SyncWorkflowHandle[Out]: ...
    @overload
    def run_workflow(
        self, workflow: str, value: Any = None, /, **options: Unpack[RunOptions]
    ) -> SyncWorkflowHandle[Any]: ...

    def run_workflow(
        self,
        workflow: WorkflowSpec[Any, Any] | Workflow[Any, Any] | str,
        value: Any = None,
        /,
        **options: Unpack[RunOptions],
    ) -> SyncWorkflowHandle[Any]:
        """Start a run and return its handle; see `Workflow.run` for the promise and the options."""
        return self.call(self._flow.run_workflow, workflow, value, **options)

    @overload
    def get_handle(
        self, run_id: str, workflow: WorkflowSpec[In, Out] | Workflow[In, Out]
    ) -> SyncWorkflowHandle[Out]: ...
    @overload
    def get_handle(self, run_id: str, workflow: None = None) -> SyncWorkflowHandle[Any]: ...

    def get_handle(
        self, run_id: str, workflow: WorkflowSpec[Any, Any] | Workflow[Any, Any] | None = None
    ) -> SyncWorkflowHandle[Any]:
        """A handle on a run that was started elsewhere; `workflow` gives its result a type, else it is plain data."""
        return self.call(self._flow.get_handle, run_id, workflow)

    def get_run(self, run_id: str) -> WorkflowRun:
        """The run as it is now, with its steps. RunNotFound where it is not stored."""
        return self._portal.call(self._flow.get_run, run_id)

    def cancel_workflow_run(self, run_id: str) -> bool:
        """Cancel a run; True where it is canceled now, False where it had ended in another way. Safe to repeat."""
        return self._portal.call(self._flow.cancel_workflow_run, run_id)

    def audit(self, *, repair: bool = False, progress: AuditProgress | None = None) -> AuditReport:
        """Look at every key of the namespace: see `RedisFlow.audit`. `progress` is called in the background thread."""
        return self._portal.call(self._flow.audit, repair=repair, progress=progress)

    def list_losses(self) -> Sequence[Loss]:
        """Acknowledged writes that the server lost, the latest first: see `RedisFlow.list_losses`."""
        return self._portal.call(self._flow.list_losses)

    def stranded(self, *, detailed: bool = False) -> StrandedReport:
        """What no live worker serves, and why: see `RedisFlow.stranded`."""
        return self._portal.call(self._flow.stranded, detailed=detailed)

    def workers(self, *, gone: bool = False) -> list[WorkerInfo]:
        """The live workers, and with `gone` those that ended without a word: see `RedisFlow.workers`."""
        return self._portal.call(self._flow.workers, gone=gone)

    # -- everything else ------------------------------------------------------------------------------------------

    @overload
    def call(
        self, fn: Callable[P, Awaitable[WorkflowHandle[Out]]], /, *args: P.args, **kwargs: P.kwargs
    ) -> SyncWorkflowHandle[Out]: ...
    @overload
    def call(
        self, fn: Callable[P, Awaitable[list[WorkflowHandle[Out]]]], /, *args: P.args, **kwargs: P.kwargs
    ) -> list[SyncWorkflowHandle[Out]]: ...
    @overload
    def call(self, fn: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def call(self, fn: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any) -> Any:
        """Await any async function there and return what it returns: `flow.sync.call(workflow.run_many, inputs)`.

        A handle, or a list of handles, comes back as one that can be used here. An async function of your own that uses
        the flow can be called as well: it runs with the flow's connection of that event loop.
        """
        return self._usable_here(self._portal.call(fn, *args, **kwargs))

    def iterate(self, fn: Callable[P, AsyncIterable[T]], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        """Go through what an async iterator yields: `for run in flow.sync.iterate(flow.list_runs, status="failed")`.

        It is one item ahead. Left early, it is closed when the iterator is dropped.
        """

        async def items() -> AsyncIterable[T]:
            return fn(*args, **kwargs)

        return self._portal.iterate(items)

    @contextlib.contextmanager
    def worker(self, **options: Unpack[OwnWorkerKeywords]) -> Generator[None]:
        """Work in the background of this process, for scripts and tests: `with flow.sync.worker(): ...`.

        The options are those of `new_worker`. A failure of the worker is logged when it happens, and raised at the end.
        """

        def work() -> Any:
            return work_beside(self._flow.new_worker(**options))

        with self._portal.enter(work):
            yield

    def close(self) -> None:
        """End the background event loop and its connection; it happens by itself when the interpreter ends.

        Calls that wait raise BackendUnavailable. A later call begins anew.
        """
        self._portal.close()

    def _usable_here(self, result: Any) -> Any:
        if _is_list(result):
            return [self._usable_here(item) for item in result]
        return SyncWorkflowHandle(self._portal, self._flow.open, result) if _is_handle(result) else result


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_handle(value: Any) -> TypeGuard[WorkflowHandle[Any]]:
    return isinstance(value, WorkflowHandle)
