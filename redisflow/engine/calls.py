"""A call of the workflow's code that is open: asked for in this pass, and where it stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from redisflow.authoring.options import StepPlan
from redisflow.engine.history import CallKind, Recorded
from redisflow.engine.loop import WorkflowFuture, WorkflowLoop
from redisflow.payload import PayloadType
from redisflow.records import Call

CallState = Literal["asked", "ready", "running", "waiting", "recorded", "given up"]


@dataclass(slots=True, eq=False)
class OpenCall:
    """One `step.*` call of this pass."""

    kind: CallKind
    call: Call
    recorded: Recorded | None
    state: CallState = "asked"
    future: CallFuture | None = None
    attempt: int = 1
    """The attempt that runs, or the next one."""
    due_at_ms: int = 0
    plan: StepPlan | None = None
    fn: Callable[..., Any] | None = None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] | None = None
    payload: PayloadType[Any] | None = None
    sleep_ms: int = 0
    sleep_is_relative: bool = True


class CallFuture(WorkflowFuture[Any]):
    """What workflow code waits on for a call; cancelling it gives the call up."""

    __slots__ = ("_give_up",)

    def __init__(self, loop: WorkflowLoop, give_up: Callable[[], None]) -> None:
        """Made when the call is awaited."""
        super().__init__(loop.next_number(), loop=loop)
        self._give_up = give_up

    def cancel(self, msg: Any | None = None) -> bool:
        """The task that waits here was cancelled."""
        if not super().cancel(msg):
            return False
        self._give_up()
        return True
