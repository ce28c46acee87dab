"""The type of a payload, made from an annotation: it validates, encodes, and gives back what was encoded.

With an annotation pydantic restores models, dataclasses, enums and the like from plain data; without one the codec
alone speaks, which gives back built-in types exactly and refuses all else. The hard thing is to be sure at no cost:
built-in types never meet pydantic, and what comes back is compared with what was given only where the annotation, or a
subclass, leaves it open.
"""

from __future__ import annotations

import inspect
import re
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Generic, Never, NoReturn, TypeVar, cast
from uuid import UUID

from pydantic import ConfigDict, TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic_core import SchemaError

from redisflow import codec
from redisflow.errors import CannotDecode, CannotRecord
from redisflow.extensions import LEAF_CODES
from redisflow.payload.fidelity import Traits, first_change, traits_of
from redisflow.payload.lowering import lower

T = TypeVar("T")

_UNTYPED = (None, Any, object, inspect.Parameter.empty, NoReturn, Never)
_LEAVES: Final[frozenset[Any]] = frozenset({type(None), bool, int, float, str, bytes}) | frozenset(LEAF_CODES)
# Values that nobody can change, and of which the record keeps all: they need not be decoded to be what is recorded.
_CONSTANTS: Final[frozenset[Any]] = frozenset(
    {type(None), bool, int, float, complex, str, bytes, Decimal, UUID, date, timedelta}
)
_SHOWN = 400
_INPUT_SHOWN: Final = re.compile(r"input_value=.*, (?=input_type=)")
"""How pydantic shows what it refuses, in one line: its repr."""


class PayloadType(Generic[T]):
    """How values of one annotation are validated and recorded; made once for an annotation by `PayloadType.of`.

    Private attributes of models are no part of their data and are not recorded. A nested instance of a subclass is
    recorded if it has the same fields as the class in the annotation, and comes back as that class.
    """

    __slots__ = ("_adapter", "_exact", "_traits", "annotation", "name")

    annotation: Any
    """The annotation as it was given; None if there is none."""
    name: str
    """The annotation as people write it."""

    def __init__(self, annotation: Any) -> None:
        """Prepare an annotation; raises CannotRecord for one whose values could not be recorded."""
        untyped = any(annotation is nothing for nothing in _UNTYPED)
        self.annotation = None if untyped else annotation
        self.name = _name_of(annotation)
        self._exact = annotation if isinstance(annotation, type) and annotation in _LEAVES else None
        self._adapter = None if untyped else _adapter_of(annotation, self.name)
        self._traits = (
            Traits(built_in=True, faithful=True, classes=())
            if self._adapter is None
            else traits_of(_schema_of(self._adapter))
        )

    @staticmethod
    def of(annotation: Any) -> PayloadType[Any]:
        """Return the type for an annotation, resolved (no text); for None, Any or object the untyped one."""
        try:
            hash(annotation)
        except TypeError:
            return PayloadType(annotation)
        return _of(annotation)

    def validate(self, value: object) -> T:
        """Return the value as the annotation says, converted if need be; raises pydantic.ValidationError."""
        if self._adapter is None or type(value) is self._exact:
            return cast("T", value)
        return cast("T", self._adapter.validate_python(value))

    def encode(self, value: object) -> bytes:
        """Return the bytes to record; raises CannotRecord if they would not come back as this value."""
        if self._adapter is None or type(value) is self._exact:
            return codec.encode(value)
        return self._record_by_annotation(value, self._adapter)[0]

    def record(self, value: object) -> tuple[bytes, T]:
        """Return the bytes to record, and the value that they decode to: what every pass sees, the first one too."""
        kind = type(value)
        if self._adapter is None or kind is self._exact:
            data = codec.encode(value)
            return data, cast("T", value) if kind in _CONSTANTS else codec.decode(data)
        return self._record_by_annotation(value, self._adapter)

    def decode(self, data: bytes) -> T:
        """Return the recorded value; raises CannotDecode if the bytes are not what the annotation says."""
        value = codec.decode(data)
        if self._adapter is None or type(value) is self._exact:
            return cast("T", value)
        try:
            # Strictness would refuse what stands for a model or an enum; values were recorded under their own names.
            return cast("T", self._adapter.validator.validate_python(value, strict=False, by_alias=False, by_name=True))
        except Exception as error:  # validators are code of users
            message = f"the recorded value is not a {self.name}: {_short(error)}"
            raise CannotDecode(message) from error

    def json_schema(self) -> dict[str, Any] | None:
        """What a value may be, for forms and other programs; None where anything may, or JSON cannot say it."""
        if self._adapter is None:
            return None
        try:
            return self._adapter.json_schema()
        except PydanticUserError:
            return None

    def _record_by_annotation(self, value: object, adapter: TypeAdapter[Any]) -> tuple[bytes, T]:
        try:
            # round_trip leaves out what is computed; warnings tell of values that are not what the annotation says.
            plain = adapter.serializer.to_python(value, by_alias=False, round_trip=True, warnings="error")
        except Exception as error:  # serializers are code of users
            message = (
                f"a value of type {type(value).__qualname__} does not fit its annotation {self.name}: {_short(error)}"
            )
            raise CannotRecord(message) from error
        if not self._traits.built_in:
            data = codec.encode(plain, lower=lower)
            return data, self._read_back(value, data, compare=self._leaves_it_open())
        try:
            data = codec.encode(value)
        except CannotRecord as refusal:
            # A subclass, such as numpy's float, may stand where the annotation names its base.
            data = codec.encode(plain, lower=lower)
            try:
                return data, self._read_back(value, data, compare=True)
            except CannotRecord:
                raise refusal from None
        return data, self._read_back(value, data, compare=False)

    def _leaves_it_open(self) -> bool:
        """Whether a value may come back as another one without an error."""
        if not self._traits.faithful:
            return True
        for kind in self._traits.classes:  # noqa: SIM110 - any() would cost more than all that it asks
            # Only where a class has subclasses can an instance of one stand for it.
            if kind.__subclasses__():
                return True
        return False

    def _read_back(self, value: object, data: bytes, *, compare: bool) -> T:
        try:
            decoded = self.decode(data)
        except CannotDecode as error:
            # Objects are not validated again when they are given: they may hold what their own type refuses.
            message = f"a value of type {type(value).__qualname__} would not come back from its record: {error}"
            raise CannotRecord(message) from error
        if compare and (change := first_change(value, decoded)) is not None:
            message = f"the annotation {self.name} does not restore this value: {change}"
            raise CannotRecord(message)
        return decoded


@lru_cache(maxsize=4096)
def _of(annotation: Any) -> PayloadType[Any]:
    return PayloadType(annotation)


def _adapter_of(annotation: Any, name: str) -> TypeAdapter[Any]:
    try:
        if annotation is bytearray:
            return TypeAdapter(bytearray, config=ConfigDict(arbitrary_types_allowed=True))
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        adapter.rebuild(raise_errors=True)
    except (PydanticUserError, SchemaError, NameError, TypeError) as error:
        message = (
            f"values of {name} cannot be recorded: annotate with a pydantic model, a dataclass or built-in types "
            f"({_short(error)})"
        )
        raise CannotRecord(message) from error
    return adapter


def _schema_of(adapter: TypeAdapter[Any]) -> dict[str, Any]:
    return cast("dict[str, Any]", adapter.core_schema)


def _name_of(annotation: Any) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def _short(error: Exception) -> str:
    # Without the value itself: such a message reaches logs, and callers.
    said = _INPUT_SHOWN.sub("", str(error))
    text = " ".join(said.split("For further information", maxsplit=1)[0].split())
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
