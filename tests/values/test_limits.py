"""Limits as they are written: what is refused, and what they mean for a run."""

from __future__ import annotations

import enum
import uuid
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redisflow import InvalidLimit, Limit, Rate, RedisflowError, define_workflow_spec
from redisflow.authoring.limits import FlowControl, limits_of
from redisflow.limited import limit_text, move_limits, write_limits
from redisflow.run_id import partition_for_key


@dataclass(frozen=True)
class Order:
    customer: Any


def of_customer(order: Order) -> Any:
    return order.customer


def controls(*limits: Limit | Rate, customer: Any = "c1", queue_limits: tuple[Limit, ...] = ()) -> Any:
    return limits_of(FlowControl(limits=limits), "order", "default", Order(customer), queue_limits)


@pytest.mark.parametrize("count", [0, -1, 1_000_001, 1.5, "3", True])
def test_a_count_is_a_whole_number_from_1(count: Any) -> None:
    with pytest.raises(InvalidLimit, match="give a whole number from 1 to 1000000"):
        Limit(count)
    with pytest.raises(InvalidLimit, match="give a whole number from 1 to 1000000"):
        Rate(count, per="1m")


@pytest.mark.parametrize("per", ["0s", "32d", 0])
def test_a_period_is_from_a_millisecond_to_a_month(per: Any) -> None:
    with pytest.raises(InvalidLimit, match="a period from 1 ms to 31 days"):
        Rate(1, per=per)


def test_a_period_that_is_no_duration_says_so() -> None:
    with pytest.raises(RedisflowError, match="per: 'often' is not a duration"):
        Rate(1, per="often")


def test_a_key_is_a_function() -> None:
    with pytest.raises(InvalidLimit, match="a key is a function of the input"):
        Limit(1, key="customer")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # what it is about


@pytest.mark.parametrize("priority", [-1, 10, 1.0, "1", True])
def test_a_priority_is_from_0_to_9(priority: Any) -> None:
    with pytest.raises(InvalidLimit, match="a priority is a whole number from 0"):
        define_workflow_spec("order", priority=priority)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"concurrency": Rate(1, per="1s")}, r"concurrency is Limit\(10\)"),
        ({"concurrency": 10}, r"concurrency is Limit\(10\)"),
        ({"rate": [Limit(1)]}, "rate is Rate"),
        ({"fair_key": "customer"}, "fair_key is a function of the input"),
    ],
)
def test_what_is_no_limit_is_refused_where_it_is_written(wrong: Any, message: str) -> None:
    with pytest.raises(InvalidLimit, match=message):
        define_workflow_spec("order", **wrong)


class Plan(enum.Enum):
    PRO = "pro"


@pytest.mark.parametrize("key", ["c1", 7, uuid.UUID(int=7), Plan.PRO])
def test_the_same_key_is_the_same_limit_and_another_key_is_another(key: Any) -> None:
    limit = Limit(2, key=of_customer)
    (slot,) = controls(limit, customer=key).slots
    assert controls(limit, customer=key).slots == (slot,)
    assert controls(limit, customer="other").slots[0].hash != slot.hash
    assert (slot.count, slot.period_ms) == (2, 0)


def test_a_key_of_none_means_no_limit_for_this_run() -> None:
    assert controls(Limit(2, key=of_customer), customer=None).fields == {}


@pytest.mark.parametrize("key", [["c1"], 1.5, True, b"c1"])
def test_a_key_that_cannot_be_compared_safely_is_refused(key: Any) -> None:
    with pytest.raises(InvalidLimit, match="it gives a str, an int, a UUID or None"):
        controls(Limit(2, key=of_customer), customer=key)


def test_a_key_that_fails_names_the_workflow_and_not_the_input() -> None:
    def broken(order: Order) -> str:
        raise ValueError(order.customer)

    with pytest.raises(InvalidLimit, match="workflow 'order' failed on an input with ValueError") as caught:
        controls(Limit(2, key=broken), customer="secret")
    assert "secret" not in str(caught.value)


def test_what_is_stored_is_short_and_only_what_is_used() -> None:
    assert controls().fields_in(0, 1) == {}
    fields = controls(Limit(2), Rate(100, per="1m", key=of_customer)).fields_in(0, 1)
    assert list(fields) == ["lk"]
    # Those of a key come first: see `redisflow.limited`.
    assert [part.split(":")[1:] for part in fields["lk"].split()] == [["100", "60000"], ["2", "0"]]
    assert len(fields["lk"]) < 70


def test_limits_with_one_name_are_one_limit_wherever_they_are_written() -> None:
    named = Limit(3, name="bank")
    here = limits_of(FlowControl(limits=(named,)), "order", "default", None)
    there = limits_of(FlowControl(), "refund", "slow", None, (named,))
    assert here.slots == there.slots
    # Written twice, it is taken once.
    assert len(controls(named, queue_limits=(named,)).slots) == 1


def test_the_runs_of_each_key_live_apart_where_nothing_else_counts_them() -> None:
    alone = [controls(Limit(2, key=of_customer), customer=name) for name in ("c1", "c2")]
    assert alone[0].home != alone[1].home
    together = [controls(Limit(10), Limit(2, key=of_customer), customer=name) for name in ("c1", "c2")]
    assert together[0].home == together[1].home == controls(Rate(1, per="1s")).home
    # The same words, counted elsewhere, are another limit.
    hashes = {slot.hash for made in (alone[0], controls(Limit(2, key=of_customer), Limit(10))) for slot in made.slots}
    assert len(hashes) == 3


def test_a_run_lives_with_its_limits_and_names_their_partitions_where_it_does_not() -> None:
    made = controls(Limit(2, key=of_customer), queue_limits=(Limit(5),))
    assert made.home is not None
    home = partition_for_key(made.home, 16)
    of_queue = partition_for_key("limits", 16)
    assert home != of_queue
    of_key, of_all = made.fields_in(home, 16)["lk"].split()
    assert (of_key.endswith(f":2:0@{home}"), of_all.endswith(f":5:0@{of_queue}")) == (True, True)
    alone = controls(Limit(2, key=of_customer))
    assert alone.home == made.home
    here, elsewhere = (alone.fields_in(partition, 16)["lk"] for partition in (home, home + 1))
    assert elsewhere == f"{here}@{home}"
    assert move_limits(here, home, home + 1) == elsewhere
    assert (move_limits(elsewhere, home + 1, home), move_limits(elsewhere, home + 1, home + 2)) == (here, elsewhere)


@given(
    limits=st.dictionaries(st.text("0123456789abcdef", min_size=4, max_size=4), st.text(max_size=5), max_size=5),
    partitions=st.integers(1, 50),
    places=st.lists(st.integers(0, 1000), min_size=2, max_size=2),
)
def test_limits_that_move_are_as_if_they_had_been_written_there(limits, partitions, places) -> None:
    old, new = (place % partitions for place in places)
    texts = [(limit_text(name, 3, 0), home) for name, home in limits.items()]
    written = write_limits(texts, old, partitions)
    assert move_limits(written, old, new) == write_limits(texts, new, partitions)
    assert ("@" in written) == any(partition_for_key(home, partitions) != old for home in limits.values())
    hashes = [part.partition(":")[0] for part in written.split()]
    assert hashes == sorted(limits), "every run asks in the same order"
