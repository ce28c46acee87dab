"""What steps of redisflow's own do to the world: they start child runs and send signals, as a client would.

They are steps like any other: run at least once, retried, and never again once recorded. What they do carries a key of
its own, so that doing it again changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from redisflow.authoring.body import current_body
from redisflow.authoring.definition import WorkflowSpec
from redisflow.errors import NotAllowedInWorkflow
from redisflow.tags import Tags


@dataclass(frozen=True, slots=True)
class ChildRun:
    """A child run that was started and is not waited for."""

    id: str
    workflow: str


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Whom a broadcast signal reached: the runs that waited for it. Those that start to wait later are not in here."""

    run_ids: tuple[str, ...]
    """The first 10,000 of them, in no particular order."""
    count: int
    """How many they are, all in all."""


class ChildOrder:
    """A child run to be started. Not a dataclass: it is handed to a body as it is, not as a copy."""

    __slots__ = ("data", "deadline_ms", "depth", "parent", "queue", "run_id", "spec", "tags", "version")

    def __init__(
        self,
        spec: WorkflowSpec[Any, Any],
        data: bytes,
        *,
        version: str | None,
        queue: str | None,
        deadline_ms: int | None,
        tags: Tags | None,
    ) -> None:
        """`data` is the encoded input; `run_id` and `parent` are known when the order is placed."""
        self.spec = spec
        self.data = data
        self.version = version
        self.queue = queue
        self.deadline_ms = deadline_ms
        self.tags = tags
        self.run_id = ""
        self.parent: str | None = None
        """The run that waits for the child's end; None where nobody does."""
        self.depth = 0
        """How many runs wait above the child."""


class Outside(Protocol):
    """A client, as far as steps of redisflow's own need one."""

    async def start_child(self, order: ChildOrder) -> None:
        """Create the child run; one that exists is left as it is."""
        ...

    async def send_signal(self, run_id: str, name: str, payload: bytes, once: str) -> bool:
        """Put a signal into a run's mailbox, once for each `once`; False where the run has ended or is not stored."""
        ...

    async def broadcast(self, name: str, payload: bytes, retain_ms: int | None, once: str) -> Broadcast:
        """Give a signal to every run that waits for it, once for each `once`."""
        ...


async def start_child(order: ChildOrder) -> None:
    """The body of the step that starts a child."""
    await _outside().start_child(order)


async def start_detached(order: ChildOrder) -> ChildRun:
    """The same of a child that nobody waits for."""
    await _outside().start_child(order)
    return ChildRun(order.run_id, order.spec.name)


async def send_signal(run_id: str, name: str, payload: bytes) -> bool:
    """The body of the step that sends a signal."""
    body = current_body.get()
    assert body is not None  # noqa: S101  # it runs as one
    return await _outside().send_signal(run_id, name, payload, body.idempotency_key)


async def broadcast_signal(name: str, payload: bytes, retain_ms: int | None) -> Broadcast:
    """The body of the step that sends a signal to every run that waits for it."""
    body = current_body.get()
    assert body is not None  # noqa: S101  # it runs as one
    return await _outside().broadcast(name, payload, retain_ms, body.idempotency_key)


def _outside() -> Outside:
    body = current_body.get()
    outside = None if body is None else body.outside
    if outside is None:
        msg = "this step can only run in a worker that a RedisFlow made"
        raise NotAllowedInWorkflow(msg)
    return outside
