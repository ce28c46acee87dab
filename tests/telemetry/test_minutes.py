"""Counters by the minute: what happened to runs, in any worker, for a day."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from redisflow import (
    BackendError,
    BackendUnavailable,
    Minute,
    RedisFlow,
    RetryPolicy,
    Step,
    StepOptions,
    define_workflow_spec,
    percentile_ms,
)
from redisflow.contract import Claim
from redisflow.minutes import BEYOND_MS, BOUNDS_MS, Tally, minute_of, view_minute
from redisflow.telemetry.counting import HELD_MINUTES, MinuteCounts
from redisflow.testing.faults import call, open_proxy
from redisflow.worker.counting import CountingService
from tests.keyspace import prefix_of, raw_calls
from tests.stories.world import eventually, until

THRICE = RetryPolicy(maximum_attempts=3, initial_interval="10ms", jitter=0)


def summed(minutes: list[Minute], workflow: str) -> dict[str, Any]:
    """What happened to the runs of a workflow over all minutes."""
    counts: Counter[str] = Counter()
    durations: Counter[int] = Counter()
    latencies: Counter[int] = Counter()
    for each in (minute.workflows[workflow] for minute in minutes if workflow in minute.workflows):
        for name in ("started", "succeeded", "failed", "canceled"):
            counts[name] += getattr(each, name)
        counts["step_failures"] += each.step_failures
        durations.update(each.durations)
        latencies.update(each.latencies)
    return {**counts, "durations": durations, "latencies": latencies}


# -- percentiles ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_a_percentile_lies_in_the_bucket_of_the_true_one(seed: int) -> None:
    chance = random.Random(seed)
    values = sorted(chance.randint(1, 100_000) for _ in range(chance.randint(1, 500)))
    tally = Tally()
    for value in values:
        tally.add_duration(Tally.DURATIONS, value)
    buckets = view_minute(0, tally.fields("w")).workflows["w"].durations
    assert sum(buckets.values()) == len(values)
    for percent in (1, 50, 95, 99, 100):
        told = percentile_ms(buckets, percent)
        assert told is not None
        true = values[max(0, -(-len(values) * percent // 100) - 1)]
        upper = min(bound for bound in BOUNDS_MS if bound >= true)
        lower = max((bound for bound in BOUNDS_MS if bound < true), default=0)
        assert lower <= told <= upper


def test_what_was_once_counted_is_read_and_percentiles_are_near() -> None:
    once = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000}
    once |= {60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000, 10_800_000, 43_200_000}
    assert once | {86_400_000, 604_800_000, 2_592_000_000} <= {*BOUNDS_MS}
    assert list(BOUNDS_MS) == sorted({*BOUNDS_MS})
    up_to_a_day = [bound for bound in BOUNDS_MS if 8 <= bound <= 86_400_000]
    assert max(upper / lower for lower, upper in pairwise(up_to_a_day)) < 1.4
    for minutes in (14, 45, 200):
        told = percentile_ms({min(bound for bound in BOUNDS_MS if bound >= minutes * 60_000): 10}, 95)
        assert told == pytest.approx(minutes * 60_000, rel=0.2)


def test_percentiles_of_nothing_and_of_what_is_beyond_all_bounds() -> None:
    assert percentile_ms({}, 50) is None
    assert percentile_ms({BEYOND_MS: 3}, 50) == BOUNDS_MS[-2]
    assert percentile_ms({10: 1}, 0) == 8
    with pytest.raises(ValueError, match="between 0 and 100"):
        percentile_ms({10: 1}, 101)


def test_what_a_later_version_counts_is_passed_over() -> None:
    minute = view_minute(0, [("s order", 2), ("x order", 5), ("d7.5 order", 1), ("w 12345678", 9), ("q mail", 4)])
    assert minute.workflows["order"].started == 2
    assert not minute.workflows["order"].durations
    assert minute.queues == {"mail": 4}


# -- what one worker holds --------------------------------------------------------------------------------------------


def test_what_could_not_be_added_is_kept_for_an_hour(claim: Claim) -> None:
    counts = MinuteCounts()
    for minute in range(2 * HELD_MINUTES):
        counts.run_taken(claim, "worker-1", minute * 60_000)
        counts.put_back(counts.take())
    held = counts.take()
    assert sorted(held) == list(range(HELD_MINUTES, 2 * HELD_MINUTES))
    counts.put_back(held)
    counts.run_taken(claim, "worker-1", 60_000 * (2 * HELD_MINUTES - 1))
    again = counts.take()
    assert [again[minute]["order"].numbers[Tally.STARTED] for minute in sorted(again)[-2:]] == [1, 2]


# -- of a whole namespace ---------------------------------------------------------------------------------------------


async def test_every_end_of_a_run_is_counted_whoever_ends_it(flow: RedisFlow) -> None:
    @flow.define_workflow("pay")
    async def pay(how: str, step: Step) -> None:
        async def body() -> None:
            if how == "fails":
                raise ValueError

        await step.run(StepOptions(name="try", retry=THRICE), body)
        if how == "waits":
            await step.wait_for_signal("go")

    async with flow.new_worker():
        good = [await pay.run("works") for _ in range(3)]
        bad = await pay.run("fails")
        waiting = await pay.run("waits")
        late = await pay.run("waits", deadline_at="300ms")
        await until(flow, waiting.id, lambda run: run.waiting_for == "signal")
        await waiting.cancel()
        for handle in (*good, bad, late):
            await until(flow, handle.id, lambda run: run.is_finished)
    # The worker has added what it had counted when it stopped.
    found = summed(await flow.minutes("2m"), "pay")
    assert found["started"] == 6
    assert found["succeeded"] == 3
    assert found["failed"] == 2
    assert found["canceled"] == 1
    assert found["step_failures"] == 3
    assert sum(found["latencies"].values()) == 6
    # Of runs that were ended from outside no worker knows how long they took.
    assert sum(found["durations"].values()) == 4


async def test_minutes_are_consecutive_and_empty_where_nothing_happened(flow: RedisFlow) -> None:
    minutes = await flow.minutes()
    assert len(minutes) == 24 * 60 + 1
    gaps = {later.at - earlier.at for earlier, later in pairwise(minutes)}
    assert {gap.total_seconds() for gap in gaps} == {60}
    assert not any(minute.workflows or minute.queues for minute in minutes)
    # Longer than what is kept.
    assert len(await flow.minutes("7d")) == 25 * 60 + 1


async def test_what_is_delayed_waits_only_from_when_it_is_due(flow: RedisFlow) -> None:
    @flow.define_workflow("later")
    async def later(step: Step) -> None:
        pass

    async with flow.new_worker():
        handle = await later.run(available_at="1200ms")
        await handle.result(timeout=30)
    latencies = summed(await flow.minutes("2m"), "later")["latencies"]
    waited = percentile_ms(latencies, 50)
    assert waited is not None
    assert waited < 1000


async def test_workers_add_up_over_partitions(valkey_url: str, namespace: str) -> None:
    async with RedisFlow(valkey_url, namespace=namespace, partitions=4) as flow:

        @flow.define_workflow("many")
        async def many(value: int, step: Step) -> int:
            return value

        async with flow.new_worker(), flow.new_worker(), flow.new_worker():
            handles = await many.run_many(range(40))
            await asyncio.gather(*(handle.result(timeout=30) for handle in handles))
        found = summed(await flow.minutes("2m"), "many")
        assert found["started"] == found["succeeded"] == sum(found["durations"].values()) == 40
        raw, close = raw_calls(valkey_url)
        keys = [key for number in range(4) for key in raw("KEYS", f"{prefix_of(namespace, number)}minute:*")]
        lifetimes = [raw("PTTL", key) for key in keys]
        close()
    assert keys
    assert all(24 * 3_600_000 < ms <= 25 * 3_600_000 for ms in lifetimes)


async def has_queues(flow: RedisFlow) -> bool:
    return any(minute.queues for minute in await flow.minutes("1m"))


async def test_the_depths_of_queues_are_sampled(flow: RedisFlow) -> None:
    @flow.define_workflow("mail", queue="mails")
    async def mail(step: Step) -> None:
        pass

    @flow.define_workflow("other")
    async def other(step: Step) -> None:
        pass

    await mail.run()
    await mail.run()
    async with flow.new_worker(queues=["default"]):
        await eventually(lambda: has_queues(flow))
    sampled = {name: depth for minute in await flow.minutes("1m") for name, depth in minute.queues.items()}
    assert sampled == {"default": 0, "mails": 2}


async def test_what_the_server_refuses_is_added_later(flow: RedisFlow, valkey_url: str, claim: Claim) -> None:
    backend, counts = await flow.open(), MinuteCounts()
    service = CountingService(backend, "worker-1", counts)
    raw, close = raw_calls(valkey_url)
    now_ms = int(raw("TIME")[0]) * 1000
    counts.run_taken(claim, "worker-1", now_ms)
    counts.run_left(claim, "succeeded", now_ms)
    # Something else is where its minute should be.
    key = f"{prefix_of(flow.namespace)}minute:{minute_of(now_ms)}"
    raw("SET", key, "x")
    with pytest.raises(BackendError, match="WRONGTYPE"):
        await service.flush()
    raw("DEL", key)
    close()
    counts.run_left(claim, "failed", now_ms)
    await service.flush()
    await service.flush()
    found = summed(await flow.minutes("3m"), "order")
    assert (found["started"], found["succeeded"], found["failed"]) == (1, 1, 1)


async def test_what_the_server_took_though_its_answer_was_lost_is_counted_once(
    valkey_url: str, namespace: str, claim: Claim
) -> None:
    async with open_proxy(valkey_url) as proxy, RedisFlow(proxy.url, namespace=namespace, call_timeout="300ms") as flow:
        counts = MinuteCounts()
        service = CountingService(await flow.open(), "worker-1", counts)
        raw, close = raw_calls(valkey_url)
        now_ms = int(raw("TIME")[0]) * 1000
        counts.run_left(claim, "succeeded", now_ms)
        rule = proxy.on(call("add_minute")).delay(1.0)
        with pytest.raises(BackendUnavailable):
            await service.flush()
        proxy.forget(rule)
        # More of the same minute comes before it is known whether the first was stored.
        counts.run_left(claim, "succeeded", now_ms)
        await service.flush_at_end(10)
        key = f"{prefix_of(namespace)}minute:{minute_of(now_ms)}"
        assert int(raw("HGET", key, "o order")) == 2
        close()


async def test_a_minute_that_is_refused_keeps_no_other_back(flow: RedisFlow, valkey_url: str, claim: Claim) -> None:
    counts = MinuteCounts()
    service = CountingService(await flow.open(), "worker-1", counts)
    raw, close = raw_calls(valkey_url)
    now_ms = int(raw("TIME")[0]) * 1000
    for at_ms in (now_ms - 60_000, now_ms):
        counts.run_left(claim, "succeeded", at_ms)
    damaged = f"{prefix_of(flow.namespace)}minute:{minute_of(now_ms) - 1}"
    raw("SET", damaged, "x")
    with pytest.raises(BackendError, match="WRONGTYPE"):
        await service.flush()
    assert int(raw("HGET", f"{prefix_of(flow.namespace)}minute:{minute_of(now_ms)}", "o order")) == 1
    raw("DEL", damaged)
    close()


async def test_a_run_that_others_had_no_code_for_is_counted_as_started(flow: RedisFlow) -> None:
    @flow.define_workflow("other")
    async def other(step: Step) -> None:
        await step.sleep("nap", "1d")

    handle = await flow.declare_workflow(define_workflow_spec("late")).run()
    async with flow.new_worker():
        await until(flow, handle.id, lambda run: run.waiting_for == "stranded")

    @flow.define_workflow("late")
    async def late(step: Step) -> None:
        await step.sleep("nap", "1ms")

    async with flow.new_worker():
        await handle.result(timeout=30)
    found = summed(await flow.minutes("3m"), "late")
    assert (found["started"], found["succeeded"]) == (1, 1)
    assert other.spec.name == "other"
