"""Payloads as trees: all of a small one, and of a large one what a reader can use."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from redisflow.dashboard.payload_trees import (
    MOST_KEY,
    MOST_NODES,
    MOST_TEXT,
    MOST_TEXT_OF_ALL,
    OPEN_DEPTH,
    Node,
    tree_of,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=50,
)


def nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from nodes(child)


def test_each_kind_of_value_says_what_it_is():
    tree = tree_of({"o": {}, "a": [1], "t": 'x"', "n": 1.5, "w": True, "z": None})
    assert (tree.kind, tree.text) == ("object", "{6}")
    assert [(each.key, each.kind, each.text) for each in tree.children] == [
        ("o", "object", "{0}"),
        ("a", "array", "[1]"),
        ("t", "text", 'x"'),
        ("n", "number", "1.5"),
        ("w", "word", "true"),
        ("z", "word", "null"),
    ]
    assert [(each.key, each.text) for each in tree.children[1].children] == [("0", "1")]


def test_the_first_levels_are_open():
    node = tree_of([[[["deep"]]]])
    opened = []
    while node.children:
        opened.append(node.is_open)
        (node,) = node.children
    assert opened == [depth < OPEN_DEPTH for depth in range(4)]


@given(VALUES)
def test_nothing_of_a_small_value_is_left_out(value: object):
    def size(part: object) -> int:
        if isinstance(part, dict):
            return 1 + sum(map(size, part.values()))
        return 1 + sum(map(size, part)) if isinstance(part, list) else 1

    found = list(nodes(tree_of(value)))
    assert len(found) == size(value)
    assert "more" not in {each.kind for each in found}


def test_many_parts_end_with_a_word_that_there_are_more():
    for value in (list(range(10_000)), {str(number): number for number in range(10_000)}, [[[1] * 100] * 100] * 100):
        found = list(nodes(tree_of(value)))
        assert len(found) <= MOST_NODES + 10
        assert found[-1].kind == "more"
    assert tree_of(list(range(10_000))).text == "[10000]"


def test_long_texts_and_names_are_cut_and_say_how_long_they_are():
    text = tree_of("x" * (MOST_TEXT + 1))
    assert text.text == "x" * MOST_TEXT + "… (4,001 characters)"
    (named,) = tree_of({"k" * 1000: 1}).children
    assert named.key == "k" * MOST_KEY + "… (1,000 characters)"
    assert tree_of("x" * MOST_TEXT).text == "x" * MOST_TEXT


def test_many_long_texts_are_cut_together():
    found = list(nodes(tree_of(["x" * MOST_TEXT] * 300)))
    assert sum(len(each.text) for each in found) < MOST_TEXT_OF_ALL + 2 * MOST_TEXT
    assert found[-1].kind == "more"
