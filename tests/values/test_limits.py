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
from redisflow.limited import home_of, join_limits, limit_text, place_limits


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
    assert controls().fields == {}
    fields = controls(Limit(2), Rate(100, per="1m", key=of_customer)).fields
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


def test_a_run_lives_with_its_limit_and_names_its_home_where_it_does_not() -> None:
    alone = controls(Limit(2, key=of_customer)).fields["lk"]
    home = home_of(alone, 16)
    assert place_limits(alone, home, 16) == alone
    elsewhere = place_limits(alone, home + 1, 16)
    assert elsewhere == f"{alone}@{home}"
    assert place_limits(elsewhere, home, 16) == alone
    homes = {home_of(controls(Limit(2, key=of_customer), customer=f"c{n}").fields["lk"], 16) for n in range(20)}
    assert len(homes) > 5, "those of different keys live apart"


def test_a_run_with_several_limits_lives_at_the_home_of_its_keys_and_names_all() -> None:
    both = controls(Limit(2, key=of_customer), queue_limits=(Limit(5),)).fields["lk"]
    of_key, of_all = both.split()
    assert home_of(both, 16) == home_of(of_key, 16)
    placed = place_limits(both, home_of(both, 16), 16).split()
    assert placed == [f"{text}@{home_of(text, 16)}" for text in (of_key, of_all)]
    assert place_limits(both, 0, 1) == both


@given(
    limits=st.dictionaries(st.text("0123456789abcdef", min_size=4, max_size=4), st.integers(1, 99), max_size=5),
    partitions=st.integers(1, 50),
    places=st.lists(st.integers(0, 1000), min_size=2, max_size=2),
)
def test_limits_that_move_are_as_if_they_had_been_written_there(limits, partitions, places) -> None:
    old, new = (place % partitions for place in places)
    joined = join_limits(limit_text(name, count, 0) for name, count in limits.items())
    there = place_limits(joined, new, partitions)
    assert place_limits(place_limits(joined, old, partitions), new, partitions) == there
    assert [part.partition(":")[0] for part in there.split()] == sorted(limits), "every run asks in the same order"
    if partitions > 1 and limits:
        lives_with_all = {home_of(name, partitions) for name in limits} == {new}
        assert ("@" in there) == (not lives_with_all or len(limits) > 1)
