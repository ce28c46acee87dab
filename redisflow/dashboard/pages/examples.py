"""An example of what a workflow takes, from its JSON schema: what a form shows before somebody types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast

ANY: Final = '{"id": "o-1"}, "o-1", 5 or null'
DEEPEST: Final = 8
"""References are followed within it, too: a schema may refer to itself."""
MOST: Final = 6
"""Fields of an object."""
_BY_TYPE: Final[Mapping[str, Any]] = {"string": "text", "integer": 5, "number": 1.5, "boolean": True, "null": None}


def example_of(schema: Mapping[str, Any] | None) -> str:
    """As JSON, for whoever has to type the like; where there is no schema, what any JSON may be."""
    if schema is None:
        return ANY
    return json.dumps(_of(schema, schema, 0), ensure_ascii=False)


def _of(schema: Mapping[str, Any], whole: Mapping[str, Any], depth: int) -> Any:
    for given in ("const", "default"):
        if given in schema:
            return schema[given]
    for several in ("examples", "enum"):
        if schema.get(several):
            return schema[several][0]
    inner = _within(schema, whole)
    if depth and {"type": "null"} in schema.get("anyOf", ()):
        return None
    if inner is not None:
        return None if depth >= DEEPEST else _of(inner, whole, depth + 1)
    match schema.get("type"):
        case "object":
            fields = cast("Mapping[str, Any]", schema.get("properties", {}))
            needed = [name for name in fields if name in schema.get("required", ())] or list(fields)
            return {name: _of(fields[name], whole, depth + 1) for name in needed[:MOST]} if depth < DEEPEST else {}
        case "array":
            items = cast("Mapping[str, Any] | None", schema.get("items"))
            return [_of(items, whole, depth + 1)] if items and depth < DEEPEST else []
        case str(name):
            return _BY_TYPE.get(name)
        case _:
            return None


def _within(schema: Mapping[str, Any], whole: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a schema refers to, or the first of those that it offers."""
    named = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    found = whole.get("$defs", {}).get(named)
    offered = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    return found or (offered[0] if offered else None)
