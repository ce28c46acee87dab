from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from redis.crc import key_slot

from redisflow.backend.slots import slot_of
from redisflow.names import partition_prefix


@given(st.text(alphabet="{}ab:é0", max_size=12))
@example("")
@example("{}a")
@example("{}{a}")
@example("a}b{c}")
@example("{{a}}")
@example("a{b")
def test_a_key_has_the_slot_that_a_cluster_gives_it(key: str):
    assert slot_of(key) == key_slot(key.encode())


def test_all_keys_of_a_partition_share_a_slot():
    prefix = partition_prefix("shop", 3)
    assert {slot_of(f"{prefix}run:1"), slot_of(f"{prefix}q:default:0")} == {slot_of(prefix)}
