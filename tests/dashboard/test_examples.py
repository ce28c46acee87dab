"""What a form shows of a workflow's input: an example that the schema allows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest
from pydantic import TypeAdapter

from redisflow.dashboard.pages.examples import ANY, example_of


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


@dataclass
class Item:
    sku: str
    count: int


@dataclass
class Cart:
    customer: str
    items: list[Item]
    size: Size
    parent: Cart | None
    note: str | None = None


KINDS: list[Any] = [str, int, float, bool, list[int], dict[str, float], int | str, Size, Item, Cart, list[Cart], None]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_an_example_is_what_the_workflow_takes(kind: Any):
    adapter = TypeAdapter(kind)
    adapter.validate_json(example_of(adapter.json_schema()))


def test_an_example_has_what_is_needed_and_no_more():
    shown = json.loads(example_of(TypeAdapter(Cart).json_schema()))
    assert shown.keys() == {"customer", "items", "size", "parent"}
    assert shown["items"] == [{"sku": "text", "count": 5}]


def test_without_a_schema_it_is_said_that_any_json_will_do():
    assert example_of(None) == ANY
    assert example_of({}) == "null"
