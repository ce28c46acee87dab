"""What a step's body can ask of the engine while it runs: its idempotency key, its attempt, and places to report to.

It is found through a context variable, so that it reaches sync bodies in threads and whatever a body calls. Arguments
are handed to a body as copies: what a body does to them must not be seen by workflow code (on replay the body does not
run), and what workflow code does to them later must not be seen by the next attempt.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel

from redisflow import codec

if TYPE_CHECKING:
    from redisflow.authoring.outside import Outside


class BodyContext:
    """The attempt that runs here."""

    __slots__ = ("attempt", "details", "idempotency_key", "key", "outside", "resources", "run_id")

    def __init__(
        self,
        run_id: str,
        key: str,
        attempt: int,
        idempotency_key: str,
        resources: Any,
        outside: Outside | None = None,
    ) -> None:
        """`idempotency_key` is the same on every attempt of this step: with it the outside world acts once."""
        self.run_id = run_id
        self.key = key
        self.attempt = attempt
        self.idempotency_key = idempotency_key
        self.resources = resources
        self.outside = outside
        """What steps of redisflow's own act through."""
        self.details: Any = None
        """What it last said with `step.heartbeat`."""

    @property
    def workflow(self) -> str | None:
        """Of its run, where that is known here."""
        return None

    def heartbeat(self, details: Any) -> None:
        """Called by the body itself, from any thread. CannotRecord where the details are not plain data."""
        # A copy: what the body does to its own object later must not be seen while it is being written.
        self.details = codec.decode(codec.encode(details))

    def emit(self, kind: str, data: bytes) -> None:
        """An event of its run; from any thread. Here nobody listens: a worker's bodies have a place for it."""

    def set_state(self, key: str, data: bytes) -> None:
        """A value of its run's state; as for `emit`."""


current_body: ContextVar[BodyContext | None] = ContextVar("redisflow_body", default=None)

current_run: ContextVar[Mapping[str, str] | None] = ContextVar("redisflow_run", default=None)
"""In workflow code: `run_id` and `workflow` of the run, as lines of the log have them."""

_CONSTANTS = frozenset({str, int, float, bool, type(None), bytes})
_DICTS = frozenset({dict, OrderedDict, defaultdict, Counter})


def detached_arguments(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Copies of a call's arguments."""
    if args and not _CONSTANTS.issuperset(map(type, args)):
        args = tuple([_detached(value) for value in args])
    if kwargs:
        kwargs = {word: _detached(value) for word, value in kwargs.items()}
    return args, kwargs


def _detached(value: Any) -> Any:
    """A copy of data; what is not data (a client, a function, a connection) is handed on as it is."""
    kind = cast("Any", type(value))
    if kind in _CONSTANTS:
        return value
    if kind is list:
        return [_detached(item) for item in value]
    if kind is tuple:
        return tuple([_detached(item) for item in value])
    if kind in _DICTS:
        made = copy.copy(value)
        for key, item in value.items():
            made[key] = _detached(item)
        return made
    if kind is deque:
        return deque(map(_detached, value), value.maxlen)
    if kind is set or kind is bytearray:
        return copy.copy(value)
    return _detached_record(value)


def _detached_record(value: Any) -> Any:
    kind = cast("Any", type(value))
    try:
        if tuple in kind.__mro__ and hasattr(kind, "_fields"):
            return kind._make(map(_detached, value))  # a named tuple's public way
        if BaseModel in kind.__mro__:
            return value.model_copy(deep=True)
        if dataclasses.is_dataclass(kind):
            return _detached_dataclass(value)
    except Exception:  # noqa: BLE001  # a model that holds a lock or a client cannot be copied: it is no data
        return value
    return value


def _detached_dataclass(value: Any) -> Any:
    made = copy.copy(value)
    for field in dataclasses.fields(value):
        if hasattr(value, field.name):
            object.__setattr__(made, field.name, _detached(getattr(value, field.name)))
    return made
