"""`RedisFlow`: what users hold. The registry, the client and the worker of one namespace, behind one connection.

Making one connects to nothing, so that it can stand at the top of a module. It connects at its first use, inside the
event loop that uses it; each event loop of a process, one after another or several at once, has connections of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Literal, Protocol, Self, TypeVar, Unpack, cast, overload

from redisflow.authoring.definition import (
    DEFAULT_QUEUE,
    DefinitionOptions,
    Registry,
    WorkflowDefinition,
    WorkflowOptions,
    WorkflowSpec,
    spec_of,
    split_options,
    untyped,
)
from redisflow.authoring.limits import (
    NO_CONTROL,
    AnyLimit,
    FlowControl,
    Limit,
    QueueLimits,
    Rate,
    as_limits,
)
from redisflow.authoring.starting import StartRules
from redisflow.authoring.step import Step
from redisflow.backend.location import Location
from redisflow.backend.per_loop import BackendPerLoop
from redisflow.client.audit import AuditProgress
from redisflow.client.handle import WorkflowHandle
from redisflow.client.outside import ClientOutside
from redisflow.client.schedules import Schedules, definition_of
from redisflow.client.start import RunOptions, StartedRun
from redisflow.client.stored import StoredRuns
from redisflow.client.workflow import Workflow
from redisflow.contract import Backend
from redisflow.contract.observer import Observer
from redisflow.durability import AS_CONFIGURED, Durability, Level, as_durability
from redisflow.durations import Duration, to_ms
from redisflow.errors import InvalidWorkflow, UnknownWorkflow
from redisflow.fleet import place_of
from redisflow.names import check_name, user_key
from redisflow.run_id import check_run_id, partition_of
from redisflow.schedule import Schedule
from redisflow.sealing import Payloads
from redisflow.structure import AuditReport
from redisflow.sync.facade import SyncFlow
from redisflow.telemetry.chosen import Telemetry
from redisflow.worker.address import Address
from redisflow.worker.beside import work_beside
from redisflow.worker.options import OwnWorkerKeywords, Resources, WorkerKeywords, WorkerOptions
from redisflow.worker.processes import WorkerProcesses
from redisflow.worker.target import Served, find_target
from redisflow.worker.worker import Worker

In = TypeVar("In")
Out = TypeVar("Out")


class DefineWorkflow(Protocol):
    """What `define_workflow(...)` returns: a decorator that keeps the workflow's types."""

    @overload
    def __call__(self, fn: Callable[[Step], Awaitable[Out]], /) -> Workflow[None, Out]: ...
    @overload
    def __call__(self, fn: Callable[[In, Step], Awaitable[Out]], /) -> Workflow[In, Out]: ...


class RedisFlow(StoredRuns):
    """Workflows of one namespace.

    `url` is `redis://`, `rediss://` (TLS), `unix://`, `redis+sentinel://`, `redis+cluster://`, or `memory://` for this
    process alone; by default $REDISFLOW_URL, else `redis://localhost:6379/0`. `partitions` counts when the namespace
    is opened for the first time: 1 for a single server, 16 or more for a Cluster; with None it is opened only where it
    is there (or else NamespaceNotFound), which is for programs that look. `call_timeout` is how long a call of
    a client waits for a server that does not answer before it raises BackendUnavailable. `resources` is an async
    context around the life of each worker, those of the command line too; what it yields is `step.resources` in bodies.
    `payloads` says how inputs, results and errors are stored: compressed, encrypted, large ones in a store. With
    `max_pending` a start from here raises BackpressureError while so many runs of the namespace wait to be claimed (of
    several partitions each takes its share); child runs and schedules go on.
    `telemetry` is what listens: `[OpenTelemetry(), Prometheus()]`, both or one, see docs/telemetry.md.
    `durability` is when a write counts as acknowledged: "redis", "fsync" or "replicated", see `Durability`.
    """

    def __init__(  # noqa: PLR0913  # keywords with defaults: where runs are kept, and how
        self,
        url: str | None = None,
        *,
        namespace: str = "default",
        partitions: int | None = 1,
        call_timeout: Duration = 10,
        resources: Resources | None = None,
        payloads: Payloads | None = None,
        durability: Durability | Level = AS_CONFIGURED,
        max_pending: int | None = None,
        telemetry: Iterable[Observer] = (),
    ) -> None:
        """Connect later."""
        if max_pending is not None and (type(max_pending) is not int or max_pending < 1):
            msg = f"max_pending is a whole number from 1, or None for no limit, not {max_pending!r}"
            raise ValueError(msg)
        self._location = Location(
            url=url or os.environ.get("REDISFLOW_URL") or "redis://localhost:6379/0",
            namespace=namespace,
            partitions=partitions,
            call_timeout_s=to_ms(call_timeout, what="call_timeout") / 1000,
            payloads=payloads,
            durability=as_durability(durability),
            max_pending=max_pending,
            telemetry=Telemetry(telemetry),
        )
        self._resources = resources
        self._registry = Registry()
        self._queue_limits: dict[str, tuple[AnyLimit, ...]] = {}
        self._backends = BackendPerLoop(self._location.make_backend)
        self._sync = SyncFlow(self)

    def __repr__(self) -> str:
        """Without credentials."""
        return f"RedisFlow({self._backends!r})"

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return self._location.namespace

    @property
    def resources(self) -> Resources | None:
        """What each of its workers opens first and closes last."""
        return self._resources

    @property
    def backend(self) -> Backend:
        """That of this event loop, for what has no shorter way: `await flow.backend.get_workflow_run(run_id)`."""
        return self._backends.current

    @property
    def sync(self) -> SyncFlow:
        """The same for code without an event loop: `flow.sync.run_workflow(workflow, value).result()`."""
        return self._sync

    def redis_key(self, name: str, partition: int | str = 0) -> str:
        """The whole key to which `step.redis(keys=[name])` gives this name, for other programs on the same Redis.

        In a namespace of several partitions each has one of its own: give its number, or the id of a run there.
        """
        return user_key(self.namespace, partition_of(partition) if isinstance(partition, str) else partition, name)

    # -- life -----------------------------------------------------------------------------------------------------

    async def open(self) -> Backend:
        """Connect in this event loop. Every call does it when needed; call it at start-up to fail early."""
        return await self._backends.open()

    async def close(self) -> None:
        """Close the connections of this event loop; a later use opens them again."""
        await self._backends.close()

    @property
    def location(self) -> Location:
        """Where its runs are kept."""
        return self._location

    @contextlib.asynccontextmanager
    async def moved_to(self, location: Location) -> AsyncGenerator[None]:
        """Inside, its runs are kept elsewhere: of its workflows and of the workers that are made there. For tests.

        Handles and workers from before go on where they were. Its connections there are closed at the end.
        """
        # The loop behind `sync` has connections of its own; closing it waits, which no loop may do.
        await asyncio.to_thread(self._sync.close)
        before = self._location, self._backends
        self._location, self._backends = location, BackendPerLoop(location.make_backend)
        try:
            yield
        finally:
            await asyncio.to_thread(self._sync.close)
            elsewhere = self._backends
            self._location, self._backends = before
            await elsewhere.close()

    async def __call__(self) -> Self:
        """This flow, connected: a dependency for FastAPI, `Annotated[RedisFlow, Depends(flow)]`."""
        await self.open()
        return self

    def lifespan(
        self, *, worker: bool = False, **options: Unpack[OwnWorkerKeywords]
    ) -> Callable[..., AbstractAsyncContextManager[None]]:
        """A lifespan for ASGI applications: `FastAPI(lifespan=flow.lifespan(worker=True))`.

        It connects, and with `worker` it works in the application's own process and event loop, with the options of
        `new_worker`; at shutdown, runs may go on for `grace`. What keeps the worker from starting keeps the application
        from starting; what makes it fail later is logged at once, and raised at shutdown.
        """
        if options and not worker:
            msg = f"{', '.join(options)}: options of a worker, which needs lifespan(worker=True)"
            raise TypeError(msg)

        @contextlib.asynccontextmanager
        async def live(_application: object = None) -> AsyncGenerator[None]:
            # Made before the connection is: what it is to tell is known then.
            working = work_beside(self.new_worker(**options)) if worker else contextlib.nullcontext()
            async with self, working:
                yield

        return live

    async def __aenter__(self) -> Self:
        """Connect."""
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    # -- workflows ------------------------------------------------------------------------------------------------

    def define_workflow(
        self,
        name: str,
        *,
        version: str | None = None,
        queue: str = DEFAULT_QUEUE,
        start: StartRules | None = None,
        schedule: Schedule | None = None,
        **given: Unpack[DefinitionOptions],
    ) -> DefineWorkflow:
        """Declare and implement a workflow: `@flow.define_workflow("name")`, or `flow.define_workflow("name")(fn)`.

        `fn` is `async def fn(input, step)` or `async def fn(step)`. `start` are the rules under which it is started,
        unless a start says otherwise. `schedule` is created, or given this definition, by each worker that starts;
        taking it out of the code does not delete it. Of the others `retry` is the workflow's own policy (none unless
        given, and not a default for its steps), `retention` says how long its finished runs are kept, `on_drift` what
        becomes of runs whose record the code does not match: see `WorkflowOptions`. `concurrency`, `rate`, `fair_key`
        and `priority` say how much of it may run: see `FlowControlOptions`.
        """
        options, control = split_options(given)
        chosen = FlowControl.of(control) if control else NO_CONTROL

        def define(fn: Callable[..., Awaitable[Any]]) -> Workflow[Any, Any]:
            spec = spec_of(name, fn, version=version, queue=queue, start=start, control=chosen)
            planned = None if schedule is None else partial(definition_of, spec, schedule, self._queue_limits)
            return self._register(WorkflowDefinition(spec=spec, fn=fn, schedule=planned, **options))

        return cast("DefineWorkflow", define)

    def declare_workflow(self, spec: WorkflowSpec[In, Out]) -> Workflow[In, Out]:
        """A workflow that is implemented elsewhere, to be started from here."""
        return Workflow(spec, self.open, queue_limits=self._queue_limits)

    def find_workflow(self, name: str, version: str | None = None) -> Workflow[Any, Any]:
        """The workflow that is registered here under this name, as a worker would find it for a run of this version.

        That is the one of the exact version, else the one without. UnknownWorkflow where there is neither.
        """
        return Workflow(
            self._spec_of(name, version),
            self.open,
            self._registry.find(name, version),
            queue_limits=self._queue_limits,
        )

    @overload
    def implement_workflow(  # pyright: ignore[reportOverlappingOverload]  # `None` comes first: it is no input
        self, spec: WorkflowSpec[None, Out], **options: Unpack[WorkflowOptions]
    ) -> Callable[[Callable[[Step], Awaitable[Out]]], Workflow[None, Out]]: ...
    @overload
    def implement_workflow(
        self, spec: WorkflowSpec[In, Out], **options: Unpack[WorkflowOptions]
    ) -> Callable[[Callable[[In, Step], Awaitable[Out]]], Workflow[In, Out]]: ...

    def implement_workflow(
        self, spec: WorkflowSpec[Any, Any], **options: Unpack[WorkflowOptions]
    ) -> Callable[[Callable[..., Awaitable[Any]]], Workflow[Any, Any]]:
        """Implement a spec that was declared with `define_workflow_spec`."""

        def define(fn: Callable[..., Awaitable[Any]]) -> Workflow[Any, Any]:
            own = spec_of(spec.name, fn, version=spec.version, queue=spec.queue)
            if own.takes_input != spec.takes_input:
                takes = "an input" if spec.takes_input else "no input"
                msg = f"workflow {spec} is declared with {takes}, its function is not"
                raise InvalidWorkflow(msg)
            return self._register(WorkflowDefinition(spec=spec, fn=fn, **options))

        return define

    def _register(self, definition: WorkflowDefinition[Any, Any]) -> Workflow[Any, Any]:
        self._registry.add(definition)
        return Workflow(definition.spec, self.open, definition, queue_limits=self._queue_limits)

    @overload
    async def run_workflow(
        self,
        workflow: WorkflowSpec[None, Out] | Workflow[None, Out],
        value: None = None,
        /,
        **options: Unpack[RunOptions],
    ) -> WorkflowHandle[Out]: ...
    @overload
    async def run_workflow(
        self,
        workflow: WorkflowSpec[In, Out] | Workflow[In, Out],
        value: In,
        /,
        **options: Unpack[RunOptions],
    ) -> WorkflowHandle[Out]: ...
    @overload
    async def run_workflow(
        self,
        workflow: str,
        value: Any = None,
        /,
        **options: Unpack[RunOptions],
    ) -> WorkflowHandle[Any]: ...

    async def run_workflow(
        self,
        workflow: WorkflowSpec[Any, Any] | Workflow[Any, Any] | str,
        value: Any = None,
        /,
        **options: Unpack[RunOptions],
    ) -> WorkflowHandle[Any]:
        """Start a run of a spec, of a workflow, or of a workflow that is registered here under this name."""
        spec = self._spec_of(workflow, options.get("version"))
        return await Workflow(spec, self.open, queue_limits=self._queue_limits).run(value, **options)

    def _spec_of(
        self, workflow: WorkflowSpec[Any, Any] | Workflow[Any, Any] | str, version: str | None
    ) -> WorkflowSpec[Any, Any]:
        if isinstance(workflow, WorkflowSpec):
            return workflow
        if isinstance(workflow, Workflow):
            return workflow.spec
        found = self._registry.find(workflow, version)
        if found is None:
            known = ", ".join(place_of(*place) for place in self._registry.served()) or "none"
            msg = (
                f"no workflow {place_of(workflow, version)!r} is registered here (known: {known});"
                " where it has versions, say which (version=...); where its code is elsewhere, give a spec"
            )
            raise UnknownWorkflow(msg)
        return found.spec

    @property
    def schedules(self) -> Schedules:
        """Its schedules: create, list, pause, resume, trigger, delete."""
        return Schedules(self.open, self._spec_of, self._queue_limits)

    @property
    def queue_limits(self) -> QueueLimits:
        """By queue, what `limit_queue` said."""
        return self._queue_limits

    def limit_queue(self, queue: str, *limits: Limit | Rate) -> None:
        """Limit a queue, for every run that is started on it through this object, of whichever workflow.

        Called again, it replaces what it said before; without limits, it ends them. What was started before keeps the
        limits with which it was started.
        """
        self._queue_limits[check_name("queue", queue)] = as_limits("a queue's limit", limits, (Limit, Rate))

    # -- handles --------------------------------------------------------------------------------------------------

    @overload
    async def get_handle(
        self, run_id: str, workflow: WorkflowSpec[In, Out] | Workflow[In, Out]
    ) -> WorkflowHandle[Out]: ...
    @overload
    async def get_handle(self, run_id: str, workflow: None = None) -> WorkflowHandle[Any]: ...

    async def get_handle(
        self, run_id: str, workflow: WorkflowSpec[Any, Any] | Workflow[Any, Any] | None = None
    ) -> WorkflowHandle[Any]:
        """A handle on a run that was started elsewhere; `workflow` gives its result a type, else it is plain data."""
        spec = untyped("any") if workflow is None else self._spec_of(workflow, None)
        backend = await self.open()
        is_confirmed = backend.durability.level != "replicated"  # or else nobody has asked the replicas
        started = StartedRun(check_run_id(run_id), spec.name, spec.version, existing=True, is_confirmed=is_confirmed)
        return WorkflowHandle(backend, spec, started)

    # -- workers --------------------------------------------------------------------------------------------------

    @overload
    def new_worker(self, *, processes: Literal[1] = 1, **options: Unpack[OwnWorkerKeywords]) -> Worker: ...
    @overload
    def new_worker(self, *, processes: int, **options: Unpack[WorkerKeywords]) -> Worker | WorkerProcesses: ...

    def new_worker(
        self, *, processes: int = 1, resources: Resources | None = None, **options: Any
    ) -> Worker | WorkerProcesses:
        """A worker for the workflows that are registered here: `await flow.new_worker().run()`.

        See `WorkerOptions` for what each number means. Make it inside the event loop that runs it; it shares the
        connection of this object.

        `processes` from 2 makes as many worker processes, each with these options. Each imports this object by the name
        of its module, so both it and its workflows stand at the top level of modules, and a script that starts them
        does so under `if __name__ == "__main__":`. InvalidWorkflow where it cannot be found, where it is `memory://`
        (which processes do not share), or where resources are given here and not to `RedisFlow(resources=...)`.
        """
        if not isinstance(processes, int) or isinstance(processes, bool) or processes < 1:
            msg = f"processes is a whole number from 1, not {processes!r}"
            raise ValueError(msg)
        options["queues"] = tuple(options.get("queues", ()))
        if options.get("http") is not None:
            options["http"] = Address.parse(options["http"])
            self._location.telemetry.add_metrics()
        if processes == 1:
            given = WorkerOptions(**options, resources=resources or self._resources)
            return Worker(self.open, self._registry, given, ClientOutside(self.open, self._queue_limits))
        if resources is not None:
            msg = "resources cannot be handed to worker processes: they import those of RedisFlow(resources=...)"
            raise InvalidWorkflow(msg)
        if self._location.clock == "test":
            msg = "worker processes do not follow the clock of a test: one that works in this process does"
            raise InvalidWorkflow(msg)
        if self._location.url.startswith("memory:"):
            msg = f"{self!r} lives in this process alone: worker processes need a Redis of their own, redis://..."
            raise InvalidWorkflow(msg)
        target = find_target(self, self._registry, self.served())
        return WorkerProcesses(target, WorkerOptions(**options), processes)

    def input_schemas(self) -> dict[str, dict[str, Any]]:
        """By the names of the workflows here (the last version of each), the JSON schema of what it takes."""
        found = ((name, self._registry.find(name, version)) for name, version in self._registry.served())
        schemas = ((name, each.spec.input.json_schema()) for name, each in found if each and each.spec.takes_input)
        return {name: schema for name, schema in schemas if schema is not None}

    def served(self) -> Served:
        """What its workers serve, in words that another process can compare with what it has."""
        places = self._registry.served()
        return Served(flow=repr(self), workflows=tuple(place_of(*place) for place in places))


async def audit(
    namespace: str, url: str | None = None, *, repair: bool = False, progress: AuditProgress | None = None
) -> AuditReport:
    """Audit a namespace that no RedisFlow here is of: see `RedisFlow.audit`, and `RedisFlow` for `url`."""
    async with RedisFlow(url, namespace=namespace) as flow:
        return await flow.audit(repair=repair, progress=progress)
