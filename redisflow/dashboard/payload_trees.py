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
MOST_KEY = 200
"""Characters of a name."""
MOST_TEXT_OF_ALL = 64_000
"""Characters of all texts of a payload together."""
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
        self.text_left = MOST_TEXT_OF_ALL

    def build(self, key: str, value: Any, depth: int) -> Node:
        self.left -= 1
        key = self._cut(key, MOST_KEY)
        if isinstance(value, dict):
            pairs = cast("dict[str, Any]", value)
            return self._with(Node(key, "object", f"{{{len(pairs)}}}", depth < OPEN_DEPTH), pairs.items(), depth)
        if isinstance(value, list):
            items = cast("list[object]", value)
            named = ((str(place), each) for place, each in enumerate(items))
            return self._with(Node(key, "array", f"[{len(items)}]", depth < OPEN_DEPTH), named, depth)
        if isinstance(value, str):
            return Node(key, "text", self._cut(value, MOST_TEXT))
        if value is None or isinstance(value, bool):
            return Node(key, "word", json.dumps(value))
        return Node(key, "number", json.dumps(value))

    def _with(self, node: Node, items: Iterable[tuple[str, Any]], depth: int) -> Node:
        for key, value in items:
            if self.left <= 0 or self.text_left <= 0:
                node.children.append(Node("", "more", "… more"))
                break
            node.children.append(self.build(key, value, depth + 1))
        return node

    def _cut(self, text: str, most: int) -> str:
        self.text_left -= min(len(text), most)
        return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"
