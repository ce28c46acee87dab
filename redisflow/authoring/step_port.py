"""What the engine offers behind `Step`, and what a workflow may know of its run."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn, Protocol

from redisflow.authoring.children import ChildTerms
from redisflow.authoring.options import StepOptions
from redisflow.authoring.outputs import OutputPort
from redisflow.authoring.outside import ChildRun
from redisflow.authoring.redis_script import Word
from redisflow.authoring.step_call import StepCall
from redisflow.tags import Tags


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """What a workflow may know of its own run; the same on every pass."""

    id: str
    workflow: str
    version: str | None
    attempt: int
    """Which workflow attempt this is, from 1."""
    created_at: datetime
    deadline_at: datetime | None
    parent: str | None = None
    """The run that waits for this one's end, where it is a child."""
    continued: int = 0
    """How often the run was continued as new before."""
    tags: Tags = field(default_factory=dict[str, str])
    scheduled_at: datetime | None = None
    """The tick for which its schedule started it; None where a person did."""


class StepPort(Protocol):
    """What the engine offers behind `Step`."""

    @property
    def info(self) -> RunInfo:
        """Of this run."""
        ...

    @property
    def random(self) -> random.Random:
        """Seeded by the run."""
        ...

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """Silent on replay."""
        ...

    @property
    def resources(self) -> Any:
        """What the worker's `resources` opened."""
        ...

    @property
    def outputs(self) -> OutputPort:
        """Where events and state go."""
        ...

    def now_ms(self) -> int:
        """The time of the last thing that the run learnt."""
        ...

    def ask_step(
        self, name: str | StepOptions, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> StepCall[Any]:
        """Claim a step's key."""
        ...

    def ask_sleep(self, name: str, ms: int, *, relative: bool) -> StepCall[None]:
        """Claim a durable sleep's key."""
        ...

    def ask_compensation(
        self, name: str | StepOptions, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Put a step on the stack of compensations."""
        ...

    def continue_as_new(self, value: Any) -> NoReturn:
        """Begin the run anew."""
        ...

    def is_patched(self, name: str) -> bool:
        """Whether the code that is new with this patch is for this run."""
        ...

    def next_compensation(self) -> StepCall[Any] | None:
        """The last one on the stack that has not begun."""
        ...

    def ask_child(self, terms: ChildTerms, value: Any) -> StepCall[Any]:
        """Claim the key of a child run."""
        ...

    def ask_detached(self, terms: ChildTerms, value: Any) -> StepCall[ChildRun]:
        """Claim the key of a step that starts a child."""
        ...

    def ask_signal(self, name: str, annotation: Any, timeout_ms: int | None) -> StepCall[Any]:
        """Claim the key of a wait for a signal."""
        ...

    def ask_redis(self, name: str, words: tuple[Word, ...]) -> StepCall[Any]:
        """Claim the key of a script."""
        ...
