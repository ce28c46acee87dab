"""What a step's body can ask of the engine while it runs: its idempotency key, its attempt, and a place to report to.

It is found through a context variable, so that it reaches sync bodies in threads and whatever a body calls. Arguments
are handed to a body as copies: what a body does to them must not be seen by workflow code, because on replay the body
does not run.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class BodyContext:
    """The attempt that runs here."""

    run_id: str
    key: str
    attempt: int
    idempotency_key: str
    """The same on every attempt of this step, so that the outside world can make its effect once."""
    heartbeat: Callable[[Any], None]
    resources: Any


current_body: ContextVar[BodyContext | None] = ContextVar("redisflow_body", default=None)

_PLAIN = frozenset({str, int, float, bool, type(None), bytes})


def detached(value: Any) -> Any:
    """A copy of data; what is not data (a client, a function, a connection) is handed on as it is."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is list:
        return [detached(item) for item in value]
    if kind is dict:
        return {key: detached(item) for key, item in value.items()}
    if kind is tuple:
        return tuple(detached(item) for item in value)
    if kind is set or kind is bytearray:
        return copy.copy(value)
    if isinstance(value, BaseModel):
        return value.model_copy(deep=True)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        made = copy.copy(value)
        for field in dataclasses.fields(value):
            object.__setattr__(made, field.name, detached(getattr(value, field.name)))
        return made
    return value
