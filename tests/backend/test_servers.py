from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from redisflow.backend.redis_backend import RedisBackend
from redisflow.backend.servers import check_server, read_info, report_on
from redisflow.durability import Durability
from redisflow.errors import UnsuitableServer
from redisflow.testing import ServerOptions, start_server

INFO = "# Server\r\nredis_version:{redis}\r\n{more}maxmemory_policy:{policy}\r\naof_enabled:{aof}\r\nrdb_saves:0\r\n"


def report(redis_version: str = "7.4.1", *, valkey: str = "", policy: str = "noeviction", aof: int = 1, save=None):
    more = f"valkey_version:{valkey}\r\n" if valkey else ""
    info = read_info(INFO.format(redis=redis_version, more=more, policy=policy, aof=aof).encode())
    return report_on(info, save)


@pytest.mark.parametrize(
    ("versions", "product", "version"),
    [
        ({"redis_version": "7.0.15"}, "redis", (7, 0, 15)),
        ({"redis_version": "8.0"}, "redis", (8, 0, 0)),
        ({"redis_version": "7.2.4", "valkey": "9.1.2"}, "valkey", (9, 1, 2)),
    ],
)
def test_products_and_versions_are_told_apart(versions, product, version):
    found = report(**versions)
    assert (found.product, found.version) == (product, version)
    assert check_server(found) == []


@pytest.mark.parametrize("versions", [{"redis_version": "6.2.14"}, {"redis_version": "7.2.4", "valkey": "7.0.0"}])
def test_an_old_server_is_refused(versions):
    with pytest.raises(UnsuitableServer, match="too old"):
        check_server(report(**versions))


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-lru", "volatile-ttl", "allkeys-random"])
def test_a_server_that_evicts_is_refused_with_what_to_set(policy):
    with pytest.raises(UnsuitableServer, match="CONFIG SET maxmemory-policy noeviction"):
        check_server(report(policy=policy))


def test_a_server_without_persistence_is_warned_of():
    (warning,) = check_server(report(aof=0, save=[b"save", b""]))
    assert "appendonly yes" in warning
    assert check_server(report(aof=0, save=[b"save", b"3600 1"])) == []


def test_too_few_replicas_are_warned_of():
    replicated = Durability(level="replicated", replicas=2)
    assert check_server(replace(report(), replicas=2), replicated) == []
    (warning,) = check_server(replace(report(), replicas=1), replicated)
    assert "confirmed by 2 replicas, and the server has 1" in warning
    assert check_server(report()) == []


async def test_a_real_server_that_evicts_is_refused(namespace: str):
    with start_server(ServerOptions(appendonly=False)) as server:
        backend = RedisBackend(server.url, namespace=namespace)
        await backend.open()
        assert len(await backend.check_server()) == 1
        with redis.Redis(port=server.port) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(UnsuitableServer):
            await backend.check_server()
        await backend.close()
