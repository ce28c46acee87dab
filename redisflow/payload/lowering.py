"""What the codec holds in place of values that only an annotation can restore: members of enums, secrets, paths, ...

The hard thing is to lose nothing on the way down that validation could not put back: a secret gives its real value,
and a subclass of a built-in type the exact value of that type. All else becomes what JSON would show, which is the form
that pydantic's own types read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final, cast
from uuid import UUID

from pydantic import Secret, SecretBytes, SecretStr
from pydantic_core import to_jsonable_python


def lower(value: object) -> object:
    """Return a simpler form of a value, from which validation by its annotation makes it again."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (SecretStr, SecretBytes, Secret)):
        return cast("Any", value).get_secret_value()
    for base, exact in _EXACT:
        if isinstance(value, base):
            return exact(value)
    return to_jsonable_python(value)


def _exact_datetime(value: datetime) -> datetime:
    return datetime(
        value.year,
        value.month,
        value.day,
        value.hour,
        value.minute,
        value.second,
        value.microsecond,
        value.tzinfo,
        fold=value.fold,
    )


def _exact_time(value: time) -> time:
    return time(value.hour, value.minute, value.second, value.microsecond, value.tzinfo, fold=value.fold)


def _exact_timedelta(value: timedelta) -> timedelta:
    return timedelta(days=value.days, seconds=value.seconds, microseconds=value.microseconds)


# From what a subclass may override to what it cannot: `str(value)` would call its own __str__.
_EXACT: Final[tuple[tuple[type, Callable[[Any], object]], ...]] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (dict, dict),
    (list, list),
    (tuple, tuple),
    (deque, list),
    (set, set),
    (frozenset, frozenset),
    (bytes, lambda value: bytes(memoryview(value))),
    (bytearray, bytearray),
    (complex, complex.__complex__),
    (Decimal, Decimal),
    (UUID, lambda value: UUID(bytes=value.bytes)),
    (datetime, _exact_datetime),  # before date, its base
    (date, lambda value: date(value.year, value.month, value.day)),
    (time, _exact_time),
    (timedelta, _exact_timedelta),
)
