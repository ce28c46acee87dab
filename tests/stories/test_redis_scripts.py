"""`step.redis`: effects in the same Redis, exactly once: counters, stock, tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from redisflow import (
    AesGcm,
    InvalidName,
    InvalidWorkflow,
    NonRetryableError,
    Payloads,
    RedisFlow,
    RedisScriptFailed,
    RetryPolicy,
    Step,
    StepError,
    StepOptions,
    WorkflowFailed,
)
from redisflow.testing import crash_matrix, run_inline
from tests.keyspace import raw_calls

# Its keys are those of the run's partition.
pytestmark = pytest.mark.usefixtures("one_partition")

COUNT = "return redis.call('INCRBY', KEYS[1], ARGV[1])"
TAKE = """
local left = tonumber(redis.call('GET', KEYS[1]) or '0')
if left < 1 then return nil end
return redis.call('DECR', KEYS[1])
"""


@pytest.fixture
def raw(server_url: str) -> Iterator[Callable[..., Any]]:
    """Another program on the same server."""
    call, close = raw_calls(server_url)
    yield call
    close()


@pytest.mark.usefixtures("no_key_left")
async def test_a_stock_of_five_is_sold_to_five_of_twenty_runs(flow: RedisFlow, raw: Callable[..., Any]):
    @flow.define_workflow("buy")
    async def buy(step: Step) -> int | None:
        left: int | None = await step.redis("take one", TAKE, keys=["stock:cup"])
        await step.sleep("pack", "10ms")
        return left

    raw("SET", flow.redis_key("stock:cup"), 5)
    async with flow.new_worker(), flow.new_worker():
        handles = await asyncio.gather(*(buy.run() for _ in range(20)))
        left = await asyncio.gather(*(handle.result(timeout="1m") for handle in handles))
    assert sorted(n for n in left if n is not None) == [0, 1, 2, 3, 4]
    assert raw("GET", flow.redis_key("stock:cup")) == b"0"
    run = await flow.get_run(handles[0].id)
    step = run.step("take one")
    assert step is not None
    assert (step.kind, step.status, step.output) == ("redis", "succeeded", left[0])


async def test_a_script_that_raises_fails_its_step_and_is_never_tried_again(flow: RedisFlow, raw: Callable[..., Any]):
    @flow.define_workflow("refused")
    async def refused(step: Step) -> str:
        with pytest.raises(StepError, match="no money") as caught:
            await step.redis("spend", "redis.call('INCR', KEYS[1]) error('no money')", keys=["tries"])
        assert caught.value.error_type.endswith(RedisScriptFailed.__name__)
        await step.sleep("a while", "10ms")
        await step.redis("again", "return redis.call('HGET', KEYS[1], 'x')", keys=["tries"])
        return "not reached"

    async with flow.new_worker():
        handle = await refused.run()
        with pytest.raises(WorkflowFailed, match=r"'again'.*WRONGTYPE"):
            await handle.result(timeout="1m")
    assert raw("GET", flow.redis_key("tries")) == b"1"


async def test_a_retried_run_keeps_what_its_scripts_did_and_a_fork_does_it_for_itself(
    flow: RedisFlow, raw: Callable[..., Any]
):
    is_broken = True

    async def ship() -> str:
        if is_broken:
            raise OSError("no ship")
        return "shipped"

    @flow.define_workflow("shipping")
    async def shipping(step: Step) -> list[Any]:
        number = await step.redis("number", COUNT, keys=["numbers"], args=[1])
        return [number, await step.run(StepOptions("ship", retry=RetryPolicy(maximum_attempts=1)), ship)]

    async with flow.new_worker():
        handle = await shipping.run()
        with pytest.raises(WorkflowFailed):
            await handle.result(timeout="1m")
        is_broken = False
        await handle.retry()
        assert await handle.result(timeout="1m") == [1, "shipped"]
        fork = await handle.fork("ship")
        assert await fork.result(timeout="1m") == [1, "shipped"]
        fork = await handle.fork("number")
        assert await fork.result(timeout="1m") == [2, "shipped"]
    assert raw("GET", flow.redis_key("numbers")) == b"2"


async def test_a_run_that_is_continued_as_new_asks_anew_each_time(flow: RedisFlow, raw: Callable[..., Any]):
    @flow.define_workflow("rounds")
    async def rounds(number: int, step: Step) -> int:
        given_up = asyncio.ensure_future(step.redis("count", COUNT, keys=["given up"], args=[1]))
        await step.sleep("a moment", "1ms")
        given_up.cancel()
        total: int = await step.redis("count", COUNT, keys=["rounds"], args=[number])
        if number < 3:
            step.continue_as_new(number + 1)
        return total

    async with flow.new_worker():
        assert await (await rounds.run(1)).result(timeout="1m") == 6
    assert raw("GET", flow.redis_key("given up")) == b"3"


async def test_a_run_that_is_undone_takes_its_counts_back(flow: RedisFlow, raw: Callable[..., Any]):
    async def ship() -> None:
        raise NonRetryableError("no ship")

    @flow.define_workflow("undone")
    async def undone(step: Step) -> None:
        try:
            await step.redis("take", COUNT, keys=["taken"], args=[1])
            await step.run("ship", ship)
        except StepError:
            await step.redis("give back", COUNT, keys=["taken"], args=[-1])
            raise

    async with flow.new_worker():
        with pytest.raises(WorkflowFailed):
            await (await undone.run()).result(timeout="1m")
    assert raw("GET", flow.redis_key("taken")) == b"0"


async def test_where_payloads_are_sealed_the_record_of_a_reply_is_too(
    server_url: str, namespace: str, raw: Callable[..., Any]
):
    payloads = Payloads(encrypt=AesGcm(write="key", keys={"key": bytes(32)}))
    async with RedisFlow(server_url, namespace=namespace, payloads=payloads) as flow:

        @flow.define_workflow("token")
        async def token(step: Step) -> bytes:
            said: bytes = await step.redis("say", "return ARGV[1]", args=["a secret"])
            await step.sleep("until it is taken up again", "10ms")
            return said

        async with flow.new_worker():
            handle = await token.run()
            assert await handle.result(timeout="1m") == b"a secret"
        key = f"rf:{{{namespace}:0}}:run:{handle.id}"
        assert b"a secret" not in b"".join(raw("HGETALL", key))


def test_each_partition_has_keys_of_its_own_and_a_run_tells_its_partition():
    flow = RedisFlow("memory://", namespace="shop")
    assert flow.redis_key("stock:cup") == "rf:{shop:0}:u:stock:cup"
    assert flow.redis_key("stock:cup", 3) == "rf:{shop:3}:u:stock:cup"
    with pytest.raises(InvalidName):
        flow.redis_key("stock:cup", "no run")


inline = RedisFlow("memory://inline-scripts")


@inline.define_workflow("inline")
async def both(step: Step) -> list[Any]:
    first = await step.redis("take", TAKE, keys=["stock"], args=[1])
    return [first, await step.redis("take", TAKE, keys=["stock"], args=[2])]


async def test_without_a_server_the_test_says_what_a_script_gives():
    run = await run_inline(both, steps={"take": lambda keys, args: [keys[0].encode(), args[0]]})
    assert run.result() == [[b"stock", 1], [b"stock", 2]]
    assert (await run_inline(both, steps={"take": 7, "take#1": None})).result() == [7, None]
    failed = await run_inline(both, steps={"take": ValueError("sold out")})
    assert failed.error is not None
    assert "sold out" in failed.error.message
    with pytest.raises(InvalidWorkflow, match=r"step.redis\('take'\) needs a server"):
        await run_inline(both)


async def test_a_crash_at_any_commit_makes_no_script_run_twice():
    count = 0

    def take(_keys: list[str], _args: list[Any]) -> int:
        nonlocal count
        count += 1
        return 1

    report = await crash_matrix(both, steps={"take": take})
    assert not report.ran_twice
    assert count == 2 * (1 + len(report.points))
