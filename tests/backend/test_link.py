from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections import Counter

import pytest

from redisflow.errors import BackendError, BackendUnavailable, BackpressureError
from redisflow.testing.faults import call, open_proxy
from tests.backend.scripted import open_scripted
from tests.backend.waiting import until

# Counts in order, whether a call comes once or again; a call that comes too early is an error.
COUNT = """
local at = tonumber(redis.call('GET', KEYS[1]) or '0')
local wanted = tonumber(ARGV[1])
if wanted > at + 1 then return redis.error_reply('ERR a gap before ' .. wanted) end
if wanted == at + 1 then redis.call('SET', KEYS[1], wanted) end
return wanted
"""
SHA = hashlib.sha1(COUNT.encode()).hexdigest()
TEXTS = {SHA: COUNT}


async def test_replies_come_to_whoever_asked(valkey_url, open_link):
    async with open_link(valkey_url) as link:
        answers = await asyncio.gather(*(link.send(("ECHO", f"{number}")) for number in range(3_000)))
    assert answers == [b"%d" % number for number in range(3_000)]


async def test_a_reply_is_parsed_on_its_way(valkey_url, open_link):
    async with open_link(valkey_url) as link:
        assert await link.send(("ECHO", "7"), int) == 7
        with pytest.raises(ValueError, match="invalid literal"):
            await link.send(("ECHO", "x"), int)
        assert await link.send(("ECHO", "8"), int) == 8


async def test_what_is_sent_together_leaves_as_one_write(server, open_link):
    async with open_proxy(server) as proxy, open_link(proxy.url) as link:
        await link.send(("PING",))
        before = proxy.pieces
        await asyncio.gather(*(link.send(("ECHO", "x")) for _ in range(1_000)))
        assert proxy.pieces - before <= 3
        before = proxy.pieces

        async def one() -> None:
            for _ in range(20):
                await link.send(("ECHO", "x"))

        await asyncio.gather(*(one() for _ in range(100)))
        assert proxy.pieces - before <= 120


async def test_a_batch_is_bounded(valkey_url, open_link):
    async with open_link(valkey_url) as link:
        big = "x" * 100_000
        assert set(await asyncio.gather(*(link.send(("ECHO", big)) for _ in range(100)))) == {big.encode()}


@pytest.mark.parametrize("fault", ["drop_request", "drop_reply"])
@pytest.mark.parametrize("seed", range(4))
async def test_on_a_bad_network_each_call_is_answered_and_in_order(server, raw, key, open_link, fault, seed):
    chance = random.Random(seed)
    async with open_proxy(server) as proxy, open_link(proxy.url, texts=TEXTS) as link:
        await link.send(("PING",))
        getattr(proxy.on(call(where=lambda _: proxy.opened < 3 or chance.random() < 0.02)), fault)()
        wanted: list[asyncio.Future] = []
        for number in range(1, 401):
            wanted.append(link.send(("EVALSHA", SHA, "1", key, number)))
            if chance.random() < 0.3:
                await asyncio.sleep(0)
            if chance.random() < 0.05:
                await asyncio.wait([chance.choice(wanted)])
        answers = await asyncio.gather(*wanted)
    assert answers == list(range(1, 401))
    assert proxy.opened >= 3
    assert raw("GET", key) == b"400"


async def test_a_cancelled_call_leaves_no_reply_behind(valkey_url, open_link):
    chance = random.Random(7)
    async with open_link(valkey_url) as link:

        async def one(number: int) -> bytes:
            answer: bytes = await link.send(("ECHO", f"{number}"))
            return answer

        tasks = [asyncio.create_task(one(number)) for number in range(1_000)]
        while not all(task.done() for task in tasks):
            chance.choice(tasks).cancel()
            await asyncio.sleep(0)
        outcomes = Counter(task.cancelled() for task in tasks)
        for number, task in enumerate(tasks):
            assert task.cancelled() or task.result() == b"%d" % number
        assert outcomes[True]
        assert await link.send(("ECHO", "after")) == b"after"


async def test_a_call_that_was_cancelled_is_not_sent_again(server, raw, key, open_link):
    async with open_proxy(server) as proxy, open_link(proxy.url) as link:
        await link.send(("PING",))
        rule = proxy.on(call()).drop_request()
        unwanted, wanted = link.send(("RPUSH", key, "unwanted")), link.send(("RPUSH", key, "wanted"))
        await until(lambda: rule.fired)
        unwanted.cancel()
        proxy.forget(rule)
        assert await wanted == 1
    assert raw("LRANGE", key, 0, -1) == [b"wanted"]


async def test_scripts_may_be_forgotten_at_any_moment(valkey_url, raw, key, open_link):
    async with open_link(valkey_url, texts=TEXTS) as link:
        wanted = []
        for number in range(1, 301):
            wanted.append(link.send(("EVALSHA", SHA, "1", key, number)))
            if number % 7 == 0:
                raw("SCRIPT", "FLUSH")
                await wanted[-1]
        assert await asyncio.gather(*wanted) == list(range(1, 301))


async def test_a_script_that_the_server_does_not_know_is_not_told_with_each_call(server, raw, key, open_link):
    raw("SCRIPT", "FLUSH")
    async with open_proxy(server) as proxy, open_link(proxy.url, texts=TEXTS) as link:
        wanted = [link.send(("EVALSHA", SHA, "1", key, number)) for number in range(1, 101)]
        assert await asyncio.gather(*wanted) == list(range(1, 101))
    # Once for all whose refusals come together, as a rule those of one write.
    assert 1 <= sum(seen.words[0] == b"EVAL" for seen in proxy.calls) <= 10


async def test_a_half_open_connection_is_given_up(server, open_link):
    async with open_proxy(server) as proxy, open_link(proxy.url, stall_s=0.2) as link:
        await link.send(("PING",))
        proxy.blackhole()
        calls = [link.send(("ECHO", f"{number}")) for number in range(10)]
        done, _ = await asyncio.wait(calls, timeout=0.1)
        assert not done
        proxy.heal(resume=False)
        answers = await asyncio.wait_for(asyncio.gather(*calls), 5)
    assert answers == [b"%d" % number for number in range(10)]
    assert proxy.opened == 2


async def test_a_slow_but_living_server_is_waited_for(open_link):
    # A piece of a reply every 0.1 s is a sign of life.
    pieces = [b"$10\r\n", b"01234", b"567", b"89", b"\r\n"]
    async with open_scripted(lambda command: None) as server, open_link(server.url, stall_s=0.3) as link:
        call = link.send(("PING",))
        await until(lambda: server.commands)
        for piece in pieces:
            await asyncio.wait([call], timeout=0.1)
            server.push(piece)
        assert await asyncio.wait_for(call, 5) == b"0123456789"
        assert server.connections == 1


@pytest.mark.parametrize(
    "words",
    [
        "LOADING Redis is loading the dataset in memory",
        "BUSY Redis is busy running a script",
        "MASTERDOWN Link with MASTER is down",
        "CLUSTERDOWN The cluster is down",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "NOREPLICAS Not enough good replicas to write.",
        "MISCONF Redis is configured to save RDB snapshots",
        "UNBLOCKED force unblock from blocking operation",
    ],
)
async def test_what_was_not_executed_is_sent_again(open_link, words):
    refusals = 3

    def answer(command: list[bytes]) -> bytes:
        nonlocal refusals
        refusals -= 1
        return f"-{words}\r\n".encode() if refusals >= 0 else b"+" + command[1] + b"\r\n"

    async with open_scripted(answer) as server, open_link(server.url) as link:
        calls = [link.send(("ECHO", word)) for word in "ab"]
        assert await asyncio.gather(*calls) == [b"a", b"b"]
        assert server.connections == 1
        assert len(server.commands) == 5


async def test_a_primary_that_became_a_replica_is_left(open_link):
    async with (
        open_scripted(lambda command: b"-READONLY You can't write against a read only replica.\r\n") as old,
        open_scripted(lambda command: b"+" + command[1] + b"\r\n") as new,
    ):
        addresses = iter([("127.0.0.1", old.port)] * 2)

        class Moving:
            handshake = ()
            ssl_context = None

            async def locate(self) -> tuple[str, int]:
                return next(addresses, ("127.0.0.1", new.port))

        async with open_link(old.url, endpoint=Moving()) as link:
            assert await asyncio.gather(*(link.send(("ECHO", f"{n}")) for n in range(5))) == [
                b"0",
                b"1",
                b"2",
                b"3",
                b"4",
            ]
        assert (old.connections, new.connections) == (2, 1)


@pytest.mark.parametrize("words", ["ERR wrong number of arguments", "NOPERM no permissions", "WRONGTYPE Operation"])
async def test_other_refusals_are_errors_that_carry_the_servers_words(open_link, words):
    async with open_scripted(lambda command: f"-{words}\r\n".encode()) as server, open_link(server.url) as link:
        with pytest.raises(BackendError, match=words):
            await link.send(("ECHO", "secret"))


async def test_an_error_never_carries_arguments(valkey_url, open_link):
    async with open_link(valkey_url) as link:
        with pytest.raises(BackendError, match="unknown command") as caught:
            await link.send(("NOSUCH", "secret-payload"))
    assert "secret" not in str(caught.value)


async def test_out_of_memory_is_backpressure(open_link):
    words = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
    async with open_scripted(lambda command: words) as server, open_link(server.url) as link:
        with pytest.raises(BackpressureError, match="out of memory"):
            await link.send(("PING",))


async def test_what_is_no_redis_is_an_outage_and_not_an_answer(open_link, caplog):
    async with (
        open_scripted(lambda command: b"HTTP/1.1 400 Bad Request\r\n\r\n") as server,
        open_link(server.url) as link,
    ):
        call = link.send(("PING",))
        done, _ = await asyncio.wait([call], timeout=0.2)
        assert not done
    assert "not the Redis protocol" in caplog.text


async def test_an_outage_is_one_warning_and_one_recovery_in_the_log(server, open_link, caplog):
    caplog.set_level(logging.INFO, "redisflow.backend")
    async with open_proxy(server) as proxy, open_link(proxy.url) as link:
        await link.send(("PING",))
        proxy.on(call()).drop_request()
        calls = [link.send(("ECHO", "x")) for _ in range(50)]
        await until(lambda: proxy.opened >= 4)
        proxy.forget_rules()
        await asyncio.gather(*calls)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_a_connection_that_is_closed_does_not_know_whether_the_server_answers_again(open_link, caplog):
    caplog.set_level(logging.INFO, "redisflow.backend")
    async with open_scripted(lambda command: None) as server:
        url = server.url
    async with open_link(url) as link:
        call = link.send(("PING",))
        await until(lambda: caplog.records)
        await link.close()
        with pytest.raises(BackendUnavailable):
            await call
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_an_idle_connection_that_is_closed_is_no_outage(server, open_link, caplog):
    async with open_proxy(server) as proxy, open_link(proxy.url) as link:
        await link.send(("PING",))
        proxy.close_all()
        await until(lambda: not proxy.open_connections)
        assert await link.send(("PING",)) == b"PONG"
    assert caplog.records == []


async def test_closing_fails_what_is_left(open_link):
    async with open_scripted(lambda command: None) as server, open_link(server.url) as link:
        call = link.send(("PING",))
        await until(lambda: server.commands)
        await link.close()
        with pytest.raises(BackendUnavailable, match="closed"):
            await call
        with pytest.raises(BackendUnavailable, match="closed"):
            await link.send(("PING",))


async def test_whoever_has_no_time_to_close_leaves_nobody_waiting(open_link):
    async with open_scripted(lambda command: None) as server, open_link(server.url) as link:
        call = link.send(("PING",))
        await until(lambda: server.commands)
        closing = asyncio.create_task(link.close())
        await asyncio.sleep(0)
        assert closing.cancel()
        await asyncio.wait([closing])
        with pytest.raises(BackendUnavailable, match="closed"):
            await asyncio.wait_for(call, 10)


async def test_nothing_is_sent_before_the_handshake_is_answered(open_link):
    async with (
        open_scripted(lambda command: None) as server,
        open_link(f"redis://user:p%40ss@127.0.0.1:{server.port}/3") as link,
    ):
        call = link.send(("PING",))
        await until(lambda: len(server.commands) >= 2)
        await asyncio.wait([call], timeout=0.05)
        assert server.commands == [[b"AUTH", b"user", b"p@ss"], [b"SELECT", b"3"]]
        server.answer = lambda command: b"+PONG\r\n"
        server.push(b"+OK\r\n+OK\r\n")
        assert await call == b"PONG"


async def test_a_wrong_password_is_an_error_at_once(open_link):
    words = b"-WRONGPASS invalid username-password pair\r\n"
    async with (
        open_scripted(lambda command: words) as server,
        open_link(server.url.replace("//", "//:secret@")) as link,
    ):
        with pytest.raises(BackendError, match="WRONGPASS") as caught:
            await link.send(("PING",))
    assert "secret" not in str(caught.value)
