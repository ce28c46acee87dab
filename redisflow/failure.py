"""An error as data: what the record keeps of an exception, and what every later pass, process and page sees of it.

Nothing is imported by name to bring it back, so it may come from code that is gone. The hard thing is never to fail
while failing: exceptions of users may break in `__str__`, hold text that cannot be stored, or megabytes of it.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from redisflow.errors import CannotDecode

MAX_MESSAGE_LENGTH: Final = 4_096
MAX_TRACEBACK_BYTES: Final = 65_536

_CUT = "\n... (cut) ...\n"
# The packages through which a body is called: their frames above the user's own say nothing.
_CARRIERS = frozenset({"redisflow", "asyncio", "anyio", "concurrent"})


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception's type, message and traceback, as text."""

    error_type: str
    """The qualified name of its class, such as "ValueError" or "shop.errors.CardDeclined"."""
    message: str
    """What it said: at most 4,096 characters."""
    traceback: str
    """As Python prints it, with causes, contexts and the members of groups, without values of variables."""

    @classmethod
    def of(cls, error: BaseException, *, limit: int = MAX_TRACEBACK_BYTES) -> Failure:
        """Describe an exception; never raises. A traceback of more than `limit` bytes is cut in its middle."""
        message = _storable(_said_by(error))
        if len(message) > MAX_MESSAGE_LENGTH:
            message = message[: MAX_MESSAGE_LENGTH - 3] + "..."
        return cls(type_name(type(error)), message, _cut_in_the_middle(_traceback_of(error), limit))

    def to_wire(self) -> list[str]:
        """Return it as the list that is stored."""
        return [self.error_type, self.message, self.traceback]

    @classmethod
    def from_wire(cls, wire: Any) -> Failure:
        """Return it from its stored list; raise CannotDecode if it is not one."""
        match wire:
            case [str(error_type), str(message), str(text)] | [str(error_type), str(message), str(text), int()]:
                return cls(error_type, message, text)
            case _:
                problem = f"a recorded failure is a list of three texts, not a {type(wire).__name__}"
                raise CannotDecode(problem)


def origin_of_wire(wire: Any) -> int | None:
    """Where the failure of a run began: the number of a step's record, which its stored list may end with."""
    match wire:
        case [_, _, _, int(number)]:
            return number
        case _:
            return None


def outline(error: BaseException) -> str:
    """Its type and the line that raised it, for logs: what it says may be what users store."""
    trace = error.__traceback__
    if trace is None:
        return type_name(type(error))
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    return f"{type_name(type(error))} at {code.co_filename}:{trace.tb_lineno} in {code.co_name}"


def type_name(kind: type) -> str:
    """Return the qualified name of a class, without its module if that is `builtins`."""
    try:
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        return _storable(name)
    except Exception:  # noqa: BLE001 - a metaclass may do anything
        return "Exception"


def _said_by(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as broken:  # noqa: BLE001 - whatever __str__ raises, the failure itself must be recorded
        return f"<no message: its __str__ raised {type_name(type(broken))}>"


def _traceback_of(error: BaseException) -> str:
    try:
        trimmed = _below_carriers(error.__traceback__)
        return "".join(traceback.TracebackException(type(error), error, trimmed, compact=True).format())
    except BaseException as broken:  # noqa: BLE001 - formatting calls code of users (__repr__, __str__, __notes__)
        return f"<no traceback: formatting it raised {type_name(type(broken))}>\n"


def _below_carriers(trace: TracebackType | None) -> TracebackType | None:
    inner = trace
    while inner is not None and _is_carrier(inner):
        inner = inner.tb_next
    # An error of the carriers themselves keeps all of its frames: they are what there is to see.
    return inner if inner is not None else trace


def _is_carrier(trace: TracebackType) -> bool:
    module = trace.tb_frame.f_globals.get("__name__")
    return isinstance(module, str) and module.partition(".")[0] in _CARRIERS


def _storable(text: str) -> str:
    """Return text that UTF-8 can hold: lone surrogates become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _cut_in_the_middle(text: str, limit: int) -> str:
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= limit:
        return data.decode("utf-8")
    kept = max(0, limit - len(_CUT))
    head, tail = data[: kept - kept // 2], data[len(data) - kept // 2 :]
    # A cut may go through a character: its other bytes are dropped.
    return (head.decode("utf-8", "ignore") + _CUT + tail.decode("utf-8", "ignore"))[: max(0, limit)]
