from __future__ import annotations

import asyncio

import pytest

from redisflow.backend.redis_backend import RedisBackend
from redisflow.contract import NewRun
from redisflow.errors import BackendError, NamespaceNotFound, UnsuitableServer
from redisflow.run_id import new_run_id
from tests.conformance.world import World


async def test_a_namespace_keeps_the_partitions_it_was_opened_with(server_url: str, namespace: str):
    first, second = (RedisBackend(server_url, namespace=namespace, partitions=count) for count in (4, 1))
    await first.open()
    await first.open()
    await second.open()
    try:
        assert (first.partitions, second.partitions) == (4, 4)
        new = NewRun(run_id=new_run_id(3), workflow="w", version=None, queue="default", input=b"\x01")
        await second.create_run(new)
        batches = [await first.claim_runs(number, "w", "op", 10, ["default"]) for number in range(4)]
        assert [[claim.hold.run_id for claim in batch.claims] for batch in batches] == [[], [], [], [new.run_id]]
        with pytest.raises(BackendError, match="partition"):
            await first.cancel_run(new_run_id(9))
    finally:
        await first.close()
        await second.close()


async def test_who_only_looks_creates_no_namespace(server_url: str, namespace: str):
    def looking() -> RedisBackend:
        return RedisBackend(server_url, namespace=namespace, partitions=None)

    for _ in range(2):
        with pytest.raises(NamespaceNotFound, match=f"no namespace '{namespace}'"):
            await looking().open()
    working = RedisBackend(server_url, namespace=namespace, partitions=4)
    await working.open()
    one_who_looks = looking()
    await one_who_looks.open()
    try:
        assert one_who_looks.partitions == 4
    finally:
        await one_who_looks.close()
        await working.close()


async def test_namespaces_do_not_see_each_other(world: World, server_url: str):
    other = RedisBackend(server_url, namespace=f"{world.backend.namespace}x")
    await other.open()
    try:
        run_id = await world.create()
        assert await other.get_end(run_id) is None
        assert (await other.claim_runs(0, "w", "op", 10, ["default"])).claims == []
    finally:
        await other.close()


async def test_a_namespace_of_a_newer_version_is_left_alone(world: World, server_url: str):
    world.raw("HSET", f"{world.prefix}meta", "layout", 99)
    newer = RedisBackend(server_url, namespace=world.backend.namespace)
    with pytest.raises(UnsuitableServer, match="upgrade redisflow"):
        await newer.open()


async def test_a_backend_that_is_not_open_says_so(server_url: str):
    backend = RedisBackend(server_url)
    with pytest.raises(BackendError, match="open"):
        await backend.get_end(new_run_id(0))
    await backend.close()


async def test_it_can_be_opened_again_after_it_was_closed(world: World):
    run_id = await world.create()
    await world.backend.close()
    await world.backend.open()
    assert await world.status(run_id) == "pending"


async def test_the_servers_of_the_tests_are_suitable(world: World):
    # What is known of their versions is another matter (tests/security).
    assert [said for said in await world.backend.check_server() if "CVE-" not in said] == []


async def test_a_closed_backend_leaves_nobody_waiting(world: World):
    wait = asyncio.ensure_future(world.backend.wait_bell(0, ["default"], 30))
    await world.until_blocked(1)
    await world.backend.close()
    with pytest.raises(BackendError):
        await asyncio.wait_for(wait, 5)
