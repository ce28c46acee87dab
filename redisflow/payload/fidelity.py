"""Whether a value comes back as what it was: what a type promises before, and what a value shows after.

Most annotations decide it alone, once, by their pydantic schema: `traits_of` reads it. The hard thing is the rest:
under `Any`, in a union whose choices look alike, behind validators of users or for a subclass, a value may come back as
another one without an error. There `first_change` compares what was given with what the record gives back.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any, Final, NamedTuple, cast

from pydantic import BaseModel

from redisflow.extensions import LEAF_CODES

_EXACT_LEAVES: Final[frozenset[type]] = frozenset({type(None), bool, int, float, str, bytes}) | frozenset(LEAF_CODES)

# fmt: off
_LEAF_SCHEMAS = frozenset({
    "none", "bool", "int", "float", "complex", "decimal", "str", "bytes", "date", "time", "datetime", "timedelta",
    "uuid", "literal",
})
_CONTAINER_SCHEMAS = frozenset({"list", "dict", "set", "frozenset", "tuple", "nullable", "union"})
_OBJECT_SCHEMAS = frozenset({"model", "dataclass", "typed-dict"})
_BUILT_IN_SCHEMAS = _LEAF_SCHEMAS | _CONTAINER_SCHEMAS | {"any"}
_FAITHFUL_SCHEMAS = _LEAF_SCHEMAS | _CONTAINER_SCHEMAS | _OBJECT_SCHEMAS | {
    "enum", "deque", "counter", "default", "tagged-union", "definitions", "definition-ref", "model-fields",
    "model-field", "dataclass-args", "dataclass-field", "typed-dict-field", "named-tuple", "named-tuple-field",
}
# fmt: on
# Values of users may stand there, of any shape.
_NOT_SCHEMAS = frozenset({"metadata", "config", "default", "expected", "members", "serialization", "discriminator"})


class Traits(NamedTuple):
    """What a schema tells about all of its values."""

    built_in: bool
    """They consist of what the codec holds; what is Any in it is left to the codec, which refuses the rest."""
    faithful: bool
    """They come back as what they were, but for instances of subclasses."""
    classes: tuple[type, ...]
    """The models, dataclasses and named tuples in it, whose subclasses would come back as them."""


def traits_of(schema: Mapping[str, Any]) -> Traits:
    """Read a pydantic core schema."""
    built_in = faithful = True
    classes: list[type] = []
    for node in _nodes(schema):
        built_in = built_in and node["type"] in _BUILT_IN_SCHEMAS and "serialization" not in node
        faithful = faithful and _is_faithful(node)
        if node["type"] != "enum" and isinstance(node.get("cls"), type):
            classes.append(node["cls"])
    return Traits(built_in, faithful, tuple(dict.fromkeys(classes)))


def first_change(was: object, now: object, path: str = "") -> str | None:
    """Say where and how what came back differs from what was recorded; None if it does not."""
    if was is now:
        return None
    if isinstance(was, (BaseModel, Enum)) or dataclasses.is_dataclass(was):
        return _object_change(was, now, path)
    if type(was) is not type(now):
        # An int where a float is annotated, or a str subclass where a str is, keeps its value.
        widened = type(was) is int and type(now) is float
        same_value = (widened or isinstance(was, type(now))) and type(now) in _EXACT_LEAVES and was == now
        return None if same_value else f"at ${path}, {_a(was)} would come back as {_a(now)}"
    if type(was) in _EXACT_LEAVES:
        changed = _leaf_changed(was, now)
    elif isinstance(was, (list, tuple, deque, Mapping, set, frozenset)):
        return _container_change(was, now, path)
    else:
        changed = type(was).__eq__ is not object.__eq__ and was != now
    return f"at ${path}, {_a(was)} would come back with another value" if changed else None


def _nodes(schema: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    todo: list[Any] = [schema]
    while todo:
        item = todo.pop()
        if isinstance(item, (list, tuple)):
            todo.extend(cast("Iterable[Any]", item))
        elif isinstance(item, dict):
            node = cast("dict[str, Any]", item)
            # The fields of a model are a dict too; one of them may be called "type", but is no str.
            is_schema = isinstance(node.get("type"), str)
            if is_schema:
                yield node
            todo.extend(part for key, part in node.items() if not (is_schema and key in _NOT_SCHEMAS))


def _is_faithful(node: Mapping[str, Any]) -> bool:
    kind = node["type"]
    if kind not in _FAITHFUL_SCHEMAS or "serialization" in node or node.get("serialization_exclude"):
        return False
    match kind:
        case "union":
            return _tells_its_choices_apart(node["choices"])
        case "enum":
            return all(type(member.value) in (str, int) for member in node["members"])
        case "literal":
            return all(type(value) in _EXACT_LEAVES for value in node["expected"])
        case "model" | "dataclass":
            unusual = node.get("custom_init") or node.get("post_init")
            return not unusual and node.get("config", {}).get("extra_fields_behavior") != "allow"
        case "typed-dict":
            return node.get("extra_behavior") == "forbid"
        case "dataclass-field":
            return node.get("init", True) and not node.get("init_only")
        case _:
            return True


def _tells_its_choices_apart(choices: Iterable[Any]) -> bool:
    """Whether at most one choice is recorded as a dict, and all others as themselves."""
    # A choice may come with a label of its own.
    schemas: list[dict[str, Any]] = [choice[0] if isinstance(choice, tuple) else choice for choice in choices]
    objects = sum(schema["type"] in _OBJECT_SCHEMAS for schema in schemas)
    leaves = sum(schema["type"] in _LEAF_SCHEMAS and _is_faithful(schema) for schema in schemas)
    return objects <= 1 and objects + leaves == len(schemas)


def _leaf_changed(was: Any, now: Any) -> bool:
    if isinstance(was, Decimal):
        # Signaling NaN cannot even be compared.
        return str(was) != str(now)
    # Datetimes of one instant may be unequal, where clocks are set back; NaN is unequal to itself.
    return not isinstance(was, (datetime, time)) and was == was and was != now  # noqa: PLR0124


def _object_change(was: object, now: object, path: str) -> str | None:
    if isinstance(was, Enum):
        same = type(was) is type(now) and was == now
        return None if same else f"at ${path}, {was!r} would come back as {_a(now)}"
    fields = _fields_of(was)
    if not (isinstance(was, type(now)) or isinstance(now, type(was))):
        return f"at ${path}, {_a(was)} would come back as {_a(now)}"
    if lost := fields.keys() ^ _fields_of(now).keys():
        return (
            f"at ${path}, {_a(was)} would come back as {_a(now)}, whose fields are others "
            f"({', '.join(sorted(lost))}): name the class itself in the annotation, or a union with it"
        )
    return _mapping_change(fields, _fields_of(now), path, attributes=True)


def _fields_of(value: object) -> dict[str, object]:
    if isinstance(value, BaseModel):
        names = [*type(value).model_fields, *(value.model_extra or ())]
    elif dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
    else:
        return {}
    return {name: getattr(value, name, None) for name in names}


def _container_change(was: Any, now: Any, path: str) -> str | None:
    if len(was) != len(now):
        return f"at ${path}, {_a(was)} of {len(was)} items would come back with {len(now)}"
    if isinstance(was, Mapping):
        return _mapping_change(cast("Mapping[Any, object]", was), now, path)
    if isinstance(was, (set, frozenset)):
        return _mapping_change({item: item for item in cast("set[Any]", was)}, {item: item for item in now}, path)
    for index, (old, new) in enumerate(zip(was, now, strict=True)):
        if (change := first_change(old, new, f"{path}[{index}]")) is not None:
            return change
    return None


def _mapping_change(
    was: Mapping[Any, object], now: Mapping[Any, object], path: str, *, attributes: bool = False
) -> str | None:
    keys = {key: key for key in now}
    for key, old in was.items():
        place = f"{path}.{key}" if attributes else f"{path}[{key!a}]"
        if key not in keys:
            # NaN is found nowhere, not even by itself.
            if key == key:  # noqa: PLR0124
                return f"at ${place}, the key or member {_a(key)} would not come back"
            continue
        change = first_change(key, keys[key], place) or first_change(old, now[key], place)
        if change is not None:
            return change
    return None


def _a(value: object) -> str:
    return f"a value of type {type(value).__qualname__}"
