"""Namespaces of a server: listed, made and deleted."""

from __future__ import annotations

import pytest

from redisflow import RedisFlow
from tests.cli.conftest import Cli
from tests.keyspace import raw_calls


@pytest.fixture
def keys_of(valkey_url: str):
    raw, close = raw_calls(valkey_url)

    def keys(namespace: str) -> list[bytes]:
        return [key for key in raw("KEYS", "rf:*") if key.startswith(b"rf:{%b:" % namespace.encode())]

    yield keys
    close()


async def test_a_namespace_is_created_once_listed_and_deleted_whole(cli: Cli, namespace: str, keys_of):
    other = f"{namespace}:other"
    created = await cli("namespace", "create", other, "--partitions", "3", "--json")
    assert (created.code, created.json) == (0, {"id": other, "partitions": 3})
    again = await cli("namespace", "create", other, "--partitions", "5")
    assert (again.code, "is there already, with 3 partitions" in again.err) == (5, True)
    rows = {row["id"]: row["partitions"] for row in (await cli("namespace", "list", "--json")).json}
    assert rows[other] == 3
    assert namespace not in rows, "which nobody has opened"
    for _ in range(30):
        await cli("run", "start", "order", "-i", "1", "-t", "customer=c1", "-n", other)
    assert (await cli("namespace", "delete", other)).code == 2
    dry = await cli("namespace", "delete", other, "--dry-run")
    assert (dry.code, "with 30 unfinished runs and 0 finished" in dry.err) == (0, True)
    assert len(keys_of(other)) > 30
    deleted = await cli("namespace", "delete", other, "--yes", "--json")
    assert (deleted.code, deleted.json["unfinished"], deleted.json["deleted_keys"] > 30) == (0, 30, True)
    assert [key for key in keys_of(other) if b":acked:" not in key] == []
    assert (await cli("namespace", "delete", other, "--yes")).code == 4
    assert other not in (await cli("namespace", "list", "-o", "id")).out.split()


async def test_a_namespace_whose_name_begins_alike_is_left_alone(shop: RedisFlow, cli: Cli, namespace: str, keys_of):
    await cli("run", "start", "approval")
    await cli("namespace", "create", f"{namespace}:0")
    before = keys_of(f"{namespace}:0")
    assert (await cli("namespace", "delete", namespace, "--yes")).code == 0
    left = [key for key in keys_of(namespace) if not key.startswith(b"rf:{%b:0:" % namespace.encode())]
    assert [key for key in left if b":acked:" not in key] == []
    assert keys_of(f"{namespace}:0") == before
    await cli("namespace", "delete", f"{namespace}:0", "--yes")


async def test_a_namespace_with_live_workers_is_deleted_only_by_force(working: RedisFlow, cli: Cli, namespace: str):
    await cli("run", "exec", "order", "-i", "1")
    refused = await cli("namespace", "delete", namespace, "--yes")
    assert (refused.code, "drain them first" in refused.err) == (5, True)
    assert (await cli("run", "list", "-o", "id")).out.count("\n") == 1
    assert (await cli("namespace", "delete", namespace, "--yes", "--force")).code == 0


@pytest.mark.parametrize("words", [["a b"], ["fine", "--partitions", "0"]])
async def test_what_cannot_be_a_namespace_is_refused(cli: Cli, words: list[str]):
    said = await cli("namespace", "create", *words)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
