"""Tags and retention policies: what is stored says the same when it is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redisflow import InvalidDuration, Retention
from redisflow.retention import FOR_EVER_MS, decode_policy, encode_policy
from redisflow.tags import MAX_TAG_BYTES, decode_tags, encode_tags, tag_listing

PRINTABLE = st.text().filter(lambda text: text.isprintable() and len(text.encode("utf-8", "replace")) <= MAX_TAG_BYTES)
TAGS = st.dictionaries(PRINTABLE.filter(lambda name: name and "=" not in name), PRINTABLE, max_size=32)


@given(TAGS)
def test_tags_are_read_as_they_were_given(tags):
    stored = encode_tags(tags)
    assert decode_tags(stored) == tags
    assert {f"tag:{word}" for word in stored.partition("\n")[0].split()} == {tag_listing(*tag) for tag in tags.items()}


def test_the_order_of_tags_means_nothing():
    assert encode_tags({"a": "1", "b": "2"}) == encode_tags({"b": "2", "a": "1"})


def test_policies_are_read_as_they_were_written():
    assert encode_policy([None, None]) == "", "the defaults need not be written"
    assert decode_policy("") == {"succeeded": 86_400_000, "failed": 7 * 86_400_000, "canceled": 86_400_000}
    short, lasting = Retention(succeeded="1h", failed=None), Retention(succeeded="2h", failed="1h", canceled=0)
    assert decode_policy(encode_policy([short])) == {
        "succeeded": 3_600_000,
        "failed": FOR_EVER_MS,
        "canceled": 86_400_000,
    }
    # Of several versions, each is kept for as long as any of them says.
    assert decode_policy(encode_policy([short, lasting, None])) == {
        "succeeded": 86_400_000,
        "failed": FOR_EVER_MS,
        "canceled": 86_400_000,
    }


def test_a_retention_that_cannot_be_is_refused_where_it_is_written():
    with pytest.raises(InvalidDuration, match="failed"):
        Retention(failed="a week")
