"""Payloads as trees to be folded: bounded, so that no page is larger than a reader can use."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

MOST_NODES = 400
"""Of one payload on a page; the API has it whole."""
MOST_TEXT = 4_000
"""Characters of a text."""
OPEN_DEPTH = 2

NodeKind: TypeAlias = Literal["object", "array", "text", "number", "word", "more"]


@dataclass(slots=True)
class Node:
    """A value, and the name by which it stands in its parent."""

    key: str
    kind: NodeKind
    text: str
    """Of an object or an array: how many it holds."""
    is_open: bool = False
    children: list[Node] = field(default_factory=list["Node"])


def tree_of(value: Any) -> Node:
    """From a value as JSON has it."""
    return _Builder().build("", value, 0)


class _Builder:
    def __init__(self) -> None:
        self.left = MOST_NODES

    def build(self, key: str, value: Any, depth: int) -> Node:
        self.left -= 1
        if isinstance(value, dict):
            pairs = cast("dict[str, Any]", value)
            return self._with(Node(key, "object", f"{{{len(pairs)}}}", depth < OPEN_DEPTH), pairs.items(), depth)
        if isinstance(value, list):
            named = [(str(place), each) for place, each in enumerate(cast("list[object]", value))]
            return self._with(Node(key, "array", f"[{len(named)}]", depth < OPEN_DEPTH), named, depth)
        if isinstance(value, str):
            cut = value if len(value) <= MOST_TEXT else f"{value[:MOST_TEXT]}… ({len(value):,} characters)"
            return Node(key, "text", cut)
        if value is None or isinstance(value, bool):
            return Node(key, "word", json.dumps(value))
        return Node(key, "number", json.dumps(value))

    def _with(self, node: Node, items: Iterable[tuple[str, Any]], depth: int) -> Node:
        for key, value in items:
            if self.left <= 0:
                node.children.append(Node("", "more", "… more: see JSON"))
                break
            node.children.append(self.build(key, value, depth + 1))
        return node
