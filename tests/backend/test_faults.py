from __future__ import annotations

import asyncio
import random

import pytest
import redis

from redisflow.backend.redis_backend import RedisBackend
from redisflow.contract import Beat, Extension, Mark, NewRun, Verdict
from redisflow.errors import BackendError, BackendUnavailable, BackpressureError
from redisflow.run_id import new_run_id
from redisflow.testing import ServerOptions, start_server
from redisflow.testing.faults import call, open_proxy
from tests.backend.waiting import until


def new_run(data: bytes = b"\x01") -> NewRun:
    return NewRun(run_id=new_run_id(0), workflow="order", version=None, queue="default", input=data)


def with_one_record(claim) -> Extension:
    return Extension(claim.mark, Mark(1, claim.mark.bytes + 1), [b"r"])


@pytest.mark.parametrize("fault", ["drop_request", "drop_reply"])
@pytest.mark.parametrize("seed", range(3))
async def test_every_run_is_made_claimed_and_finished_once_on_a_bad_network(server, raw, namespace, fault, seed):
    chance = random.Random(seed)
    async with open_proxy(server) as proxy:
        backend = RedisBackend(proxy.url, namespace=namespace)
        await backend.open()
        getattr(proxy.on(call(where=lambda _: chance.random() < 0.25)), fault)()
        runs = [new_run() for _ in range(100)]

        async def create(run: NewRun) -> None:
            await asyncio.sleep(0)
            await backend.create_run(run)

        await asyncio.gather(*(create(run) for run in runs))
        finished: list[str] = []
        for number in range(30):
            batch = await backend.claim_runs(0, "w", f"op{number}", 7, ["default"])
            commits = [
                backend.commit_run(claim.hold, with_one_record(claim), renew_for="w", forget_crashes=True)
                for claim in batch.claims
            ]
            assert set(await asyncio.gather(*commits)) <= {Verdict.OK}
            ends = [
                backend.finish_run(
                    claim.hold,
                    Extension(with_one_record(claim).after, with_one_record(claim).after, []),
                    status="succeeded",
                    payload=b"\x02",
                )
                for claim in batch.claims
            ]
            assert set(await asyncio.gather(*ends)) <= {Verdict.OK}
            finished += [claim.hold.run_id for claim in batch.claims]
        await backend.close()
    assert sorted(finished) == sorted(run.run_id for run in runs)
    prefix = f"rf:{{{namespace}:0}}:"
    assert raw("ZCARD", f"{prefix}done:order:succeeded") == 100
    assert raw("XLEN", f"{prefix}q:default:0") == 0
    assert raw("XPENDING", f"{prefix}q:default:0", "workers")[0] == 0
    assert proxy.opened > 3


async def test_whoever_awaits_a_result_hears_of_it_after_an_outage(server, valkey_url, namespace):
    async with open_proxy(server) as proxy:
        near, far = RedisBackend(valkey_url, namespace=namespace), RedisBackend(proxy.url, namespace=namespace)
        await near.open()
        await far.open()
        run = new_run()
        await near.create_run(run)
        async with far.watch_end(run.run_id) as ticks:
            assert await far.get_end(run.run_id) is not None
            rule = proxy.on(call()).drop_request()
            proxy.close_all()
            await near.cancel_run(run.run_id)
            proxy.forget(rule)
            await asyncio.wait_for(anext(ticks), 10)
        await far.close()
        await near.close()


async def test_a_subscription_that_died_silently_is_made_anew(server, valkey_url, namespace):
    async with open_proxy(server) as proxy:
        near = RedisBackend(valkey_url, namespace=namespace)
        far = RedisBackend(proxy.url, namespace=namespace, stall_s=0.3)
        await near.open()
        await far.open()
        run = new_run()
        await near.create_run(run)
        async with far.watch_end(run.run_id) as ticks:
            assert await far.get_end(run.run_id) is not None
            proxy.blackhole()
            await near.cancel_run(run.run_id)
            proxy.heal(resume=False)
            await asyncio.wait_for(anext(ticks), 10)
        await far.close()
        await near.close()


async def test_a_clients_call_gives_up_and_a_holders_waits(server, namespace):
    async with open_proxy(server) as proxy:
        url = proxy.url.replace("//", "//user:secret@")
        backend = RedisBackend(proxy.url, namespace=namespace, call_timeout_s=0.3)
        await backend.open()
        await backend.create_run(new_run())
        (claim,) = (await backend.claim_runs(0, "w", "op", 1, ["default"])).claims
        rule = proxy.on(call()).drop_request()
        proxy.close_all()
        finish = backend.finish_run(claim.hold, with_one_record(claim), status="succeeded", payload=b"\x02")
        with pytest.raises(BackendUnavailable, match=r"no answer from redis://.* within 0.3 s .*may be made again"):
            await backend.create_run(new_run())
        with pytest.raises(BackendUnavailable):
            await backend.get_workflow_run(claim.hold.run_id)
        assert not finish.done()
        proxy.forget(rule)
        assert await asyncio.wait_for(finish, 10) is Verdict.OK
        await backend.close()

        unreachable = RedisBackend(url.replace(str(proxy.port), "1"), namespace=namespace, call_timeout_s=0.2)
        with pytest.raises(BackendUnavailable, match=r"within 0\.2 s") as caught:
            await unreachable.open()
        assert "secret" not in str(caught.value)


async def test_a_wrong_password_fails_at_once(namespace):
    with start_server(ServerOptions(appendonly=False)) as server:
        with redis.Redis(port=server.port) as client:
            client.config_set("requirepass", "right")
        for userinfo in ("", ":wrong-secret@"):
            url = server.url.replace("//", f"//{userinfo}")
            backend = RedisBackend(url, namespace=namespace)
            with pytest.raises(BackendError, match=r"NOAUTH|WRONGPASS") as caught:
                await asyncio.wait_for(backend.open(), 5)
            assert "wrong-secret" not in str(caught.value)
        backend = RedisBackend(server.url.replace("//", "//:right@"), namespace=namespace)
        await backend.open()
        heartbeat = backend.open_heartbeat()
        assert await asyncio.to_thread(heartbeat.renew, 0, "w", 1_000, b"", []) == Beat([], {})
        heartbeat.close()
        await backend.close()


async def test_a_heartbeat_survives_each_fault(server, namespace):
    async with open_proxy(server) as proxy:
        backend = RedisBackend(proxy.url, namespace=namespace)
        await backend.open()
        await backend.create_run(new_run())
        (claim,) = (await backend.claim_runs(0, "w", "op", 1, ["default"])).claims
        heartbeat = backend.open_heartbeat()
        for fault in ("drop_request", "drop_reply"):
            getattr(proxy.on(call()), fault)()
            with pytest.raises(BackendUnavailable, match="no answer"):
                await asyncio.to_thread(heartbeat.renew, 0, "w", 1_000, b"", [claim.hold])
            proxy.forget_rules()
            assert await asyncio.to_thread(heartbeat.renew, 0, "w", 1_000, b"", [claim.hold]) == Beat([], {})
        heartbeat.close()
        await backend.close()


async def test_a_heartbeat_says_how_long_it_waited_only_where_it_waited(namespace):
    with start_server(ServerOptions(appendonly=False)) as server:
        backend = RedisBackend(server.url, namespace=namespace)
        await backend.open()
        heartbeat = backend.open_heartbeat()
        await asyncio.to_thread(heartbeat.renew, 0, "w", 1_000, b"", [])
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.restart)
        # At once: the connection that it had is closed.
        with pytest.raises(BackendUnavailable, match=r"no answer from redis://[0-9.:/]+: ") as lost:
            await asyncio.to_thread(heartbeat.renew, 0, "w", 1_000, b"", [])
        assert "within" not in str(lost.value)
        heartbeat.close()
        await backend.close()


async def test_a_heartbeat_outlives_forgotten_scripts(valkey_url, raw, namespace):
    backend = RedisBackend(valkey_url, namespace=namespace)
    await backend.open()
    heartbeat = backend.open_heartbeat()
    raw("SCRIPT", "FLUSH")
    assert await asyncio.to_thread(heartbeat.renew, 0, "w", 1_000, b"", []) == Beat([], {})
    heartbeat.close()
    await backend.close()


async def test_a_server_that_is_killed_and_restarted_in_the_middle_of_two_thousand_calls(namespace):
    with start_server(ServerOptions(config={"appendfsync": "always"})) as server:
        backend = RedisBackend(server.url, namespace=namespace, call_timeout_s=60)
        await backend.open()
        runs = [new_run() for _ in range(2_000)]
        done = 0

        async def create(run: NewRun) -> None:
            nonlocal done
            await backend.create_run(run)
            done += 1

        async with asyncio.TaskGroup() as group:
            limit = asyncio.Semaphore(100)

            async def create_in_turn(run: NewRun) -> None:
                async with limit:
                    await create(run)

            for run in runs:
                group.create_task(create_in_turn(run))
            for threshold in (300, 900, 1_500):
                await until(lambda threshold=threshold: done >= threshold)
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.restart)
        claimed: list[str] = []
        while claims := (await backend.claim_runs(0, "w", f"op{len(claimed)}", 100, ["default"])).claims:
            claimed += [claim.hold.run_id for claim in claims]
        assert sorted(claimed) == sorted(run.run_id for run in runs)
        await backend.close()


async def test_out_of_memory_new_work_is_refused_and_running_work_goes_on(namespace):
    with start_server(ServerOptions(appendonly=False)) as server:
        backend = RedisBackend(server.url, namespace=namespace)
        await backend.open()
        for _ in range(3):
            await backend.create_run(new_run())
        claims = (await backend.claim_runs(0, "w", "op", 2, ["default"])).claims
        with redis.Redis(port=server.port) as client:
            client.config_set("maxmemory", "1mb")
            with pytest.raises(BackpressureError):
                await backend.create_run(new_run())
            with pytest.raises(BackpressureError):
                await backend.claim_runs(0, "w", "op2", 2, ["default"])
            first, second = claims
            commit = backend.commit_run(first.hold, with_one_record(first), renew_for="w", forget_crashes=True)
            assert await commit is Verdict.OK
            heartbeat = backend.open_heartbeat()
            holds = [claim.hold for claim in claims]
            assert await asyncio.to_thread(heartbeat.renew, 0, "w", 60_000, b"x", holds) == Beat([], {})
            heartbeat.close()
            finish = backend.finish_run(second.hold, with_one_record(second), status="succeeded", payload=b"\x02")
            assert await finish is Verdict.OK
            assert await backend.cancel_run(first.hold.run_id) == "canceled"
            assert await backend.wake_runs(0, 100) == (0, None)
            client.config_set("maxmemory", "0")
        assert len((await backend.claim_runs(0, "w", "op3", 2, ["default"])).claims) == 1
        await backend.close()


async def test_a_token_that_comes_while_nobody_waits_is_put_back(valkey_url, raw, namespace):
    leaving, other = (RedisBackend(valkey_url, namespace=namespace) for _ in range(2))
    await leaving.open()
    await other.open()
    wait = asyncio.create_task(leaving.wait_bell(0, ["default"], 30))
    await until(lambda: b"cmd=blpop" in raw("CLIENT", "LIST"))
    wait.cancel()
    await asyncio.wait([wait])
    await leaving.create_run(new_run())
    assert await other.wait_bell(0, ["default"], 5) is True
    await leaving.close()
    await other.close()


async def test_a_worker_without_rights_is_told_so(namespace):
    with start_server(ServerOptions(appendonly=False)) as server:
        with redis.Redis(port=server.port) as client:
            client.execute_command("ACL", "SETUSER", "poor", "on", ">pw", "~*", "&*", "+@all", "-evalsha")
        backend = RedisBackend(server.url.replace("//", "//poor:pw@"), namespace=namespace)
        with pytest.raises(BackendError, match="NOPERM"):
            await backend.open()
