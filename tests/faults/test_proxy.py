"""The proxy does what a rule says to exactly the call that it names, and nothing to any other."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import hiredis
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from redisflow.backend.scripts import load_scripts
from redisflow.testing.faults import NotResp, Proxy, call, open_proxy
from tests.backend.waiting import until
from tests.stories.world import eventually

WITHIN_S = 20.0


class Refused(Exception):
    """An error reply."""


class Client:
    """A bare connection: every reply as the client of a user would see it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._parser: Any = hiredis.Reader(notEnoughData=..., replyError=Refused)

    def send(self, *commands: tuple[Any, ...]) -> None:
        self._writer.write(b"".join(hiredis.pack_command(command) for command in commands))

    async def next(self) -> Any:
        while (reply := self._parser.gets()) is ...:
            data = await asyncio.wait_for(self._reader.read(1 << 16), WITHIN_S)
            if not data:
                raise EOFError
            self._parser.feed(data)
        return reply

    async def ask(self, *command: Any) -> Any:
        self.send(command)
        return await self.next()

    async def is_silent(self, seconds: float = 0.1) -> bool:
        """Whether nothing comes, and nothing is closed, for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.next()
                return False
        return True

    def close(self) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def clients(proxy: Proxy, count: int = 1, **options: Any) -> AsyncIterator[list[Client]]:
    made = [Client(*await asyncio.open_connection("127.0.0.1", proxy.port, **options)) for _ in range(count)]
    yield made
    for client in made:
        client.close()


@pytest.fixture
async def proxy(valkey_url: str) -> AsyncIterator[Proxy]:
    async with open_proxy(valkey_url) as made:
        yield made


@pytest.fixture
def key(namespace: str) -> str:
    return f"{{{namespace}}}"


@pytest.fixture
async def direct(valkey_url: str) -> AsyncIterator[Callable[..., Any]]:
    async with open_proxy(valkey_url) as past, clients(past) as [client]:
        yield client.ask


async def counts(direct: Callable[..., Any], key: str, wanted: bytes) -> bool:
    return bool(await direct("GET", key) == wanted)


def increments(key: str, count: int) -> list[tuple[str, str]]:
    return [("INCR", key)] * count


async def test_a_pipeline_passes_as_it_is_and_its_calls_are_remembered(proxy, key):
    async with clients(proxy) as [client]:
        client.send(*increments(key, 500), ("ECHO", b"x" * 200_000), ("PING",))
        assert [await client.next() for _ in range(502)] == [*range(1, 501), b"x" * 200_000, b"PONG"]
    assert [(seen.name, seen.nth) for seen in proxy.calls[498:]] == [
        ("INCR", 499),
        ("INCR", 500),
        ("ECHO", 1),
        ("PING", 1),
    ]
    assert {seen.connection for seen in proxy.calls} == {1}


async def test_a_request_that_is_dropped_is_not_executed_and_what_came_before_is_answered(proxy, key, direct):
    rule = proxy.on(call("INCR", nth=3)).drop_request()
    async with clients(proxy) as [client]:
        client.send(*increments(key, 5))
        assert [await client.next(), await client.next()] == [1, 2]
        with pytest.raises(EOFError):
            await client.next()
    assert (rule.fired, await direct("GET", key)) == (1, b"2")


async def test_a_request_that_is_dropped_may_leave_the_connection_open_and_silent(proxy, key, direct):
    proxy.on(call("INCR", nth=1)).drop_request(close=False)
    async with clients(proxy, 2) as [client, other]:
        client.send(*increments(key, 2))
        assert await client.is_silent()
        assert await other.ask("INCR", key) == 1
    assert await direct("GET", key) == b"1"


@pytest.mark.parametrize("close", [True, False])
async def test_a_reply_that_is_dropped_was_executed_and_is_never_seen(proxy, key, direct, close):
    proxy.on(call("INCR", nth=2)).drop_reply(close=close)
    async with clients(proxy) as [client]:
        client.send(*increments(key, 2))
        assert await client.next() == 1
        if close:
            with pytest.raises(EOFError):
                await client.next()
        else:
            assert await client.is_silent()
    assert await direct("GET", key) == b"2"


@pytest.mark.parametrize(("fate", "count"), [("reset_before", b"1"), ("reset_after", b"2")])
async def test_a_reset_is_a_reset(proxy, key, direct, fate, count):
    getattr(proxy.on(call("INCR", nth=2)), fate)()
    async with clients(proxy) as [client]:
        assert await client.ask("INCR", key) == 1
        with pytest.raises(ConnectionResetError):
            await client.ask("INCR", key)
    assert await direct("GET", key) == count


async def test_a_call_that_is_sent_twice_is_answered_once(proxy, key, direct):
    proxy.on(call("INCR", nth=2)).duplicate()
    async with clients(proxy) as [client]:
        client.send(*increments(key, 3), ("PING",))
        assert [await client.next() for _ in range(4)] == [1, 2, 4, b"PONG"]
    assert await direct("GET", key) == b"4"


async def test_a_refusal_stands_where_the_answer_would(proxy, key, direct):
    proxy.on(call("INCR", nth=2)).answer("OOM command not allowed")
    proxy.on(call("INCR", nth=3)).answer_after("LOADING not yet")
    async with clients(proxy) as [client]:
        client.send(*increments(key, 4))
        answers = [await client.next() for _ in range(4)]
    assert [str(answer) for answer in answers] == ["1", "OOM command not allowed", "LOADING not yet", "3"]
    assert await direct("GET", key) == b"3"


async def test_a_refusal_comes_at_once_where_nothing_is_before_it(proxy):
    proxy.on(call("PING")).answer("LOADING not yet")
    async with clients(proxy) as [client]:
        assert [str(await client.ask("PING")) for _ in range(2)] == ["LOADING not yet"] * 2


async def test_a_delayed_call_arrives_late_even_where_its_client_has_gone(proxy, key, direct):
    rule = proxy.on(call("INCR", nth=1)).hold()
    async with clients(proxy) as [client]:
        client.send(*increments(key, 2))
        await rule.wait()
        assert await direct("GET", key) is None
    rule.release()
    await eventually(lambda: counts(direct, key, b"2"))
    proxy.on(call("INCR")).delay(0.05)
    async with clients(proxy) as [client]:
        assert await client.ask("INCR", key) == 3


async def test_rules_count_for_themselves_and_the_first_that_is_met_has_the_call(proxy):
    echoes = proxy.on(call("ECHO", where=lambda seen: seen.words[1] == b"b", nth=2)).answer("ERR second b")
    third = proxy.on(call(nth=3)).answer("ERR third")
    both = proxy.on(call("ECHO", nth=4)).answer("ERR fourth")
    async with clients(proxy) as [client]:
        client.send(*(("ECHO", word) for word in "abcba"))
        assert [str(await client.next()) for _ in range(5)] == ["b'a'", "b'b'", "ERR third", "ERR second b", "b'a'"]
        assert (echoes.fired, third.fired, both.fired) == (1, 1, 1)
        proxy.clear()
        assert await client.ask("ECHO", "b") == b"b"
    assert [seen.nth for seen in proxy.calls] == [1]
    with pytest.raises(ValueError, match="from 1"):
        call("ECHO", nth=0)
    with pytest.raises(ValueError, match="one line"):
        proxy.on(call("ECHO")).answer("ERR\r\n")


async def test_a_rule_may_be_about_one_connection(proxy):
    proxy.on(call("ECHO", connection=2)).answer("ERR no")
    async with clients(proxy) as [first]:
        assert await first.ask("ECHO", "x") == b"x"
        async with clients(proxy) as [second]:
            assert str(await second.ask("ECHO", "x")) == "ERR no"
        assert await first.ask("ECHO", "x") == b"x"


async def test_scripts_are_called_by_their_names(valkey_url, key):
    text = "return redis.call('INCR', KEYS[1])"
    sha = hashlib.sha1(text.encode()).hexdigest()
    async with open_proxy(valkey_url, names={sha: "count"}) as proxy, clients(proxy) as [client]:
        proxy.on(call("count", nth=2)).answer("NOSCRIPT No matching script")
        assert await client.ask("EVAL", text, 1, key) == 1
        assert str(await client.ask("EVALSHA", sha.upper(), 1, key)) == "NOSCRIPT No matching script"
        assert await client.ask("EVALSHA", sha, 1, key) == 2
        assert "NOSCRIPT" in str(await client.ask("EVALSHA", "0" * 40, 0))
    assert [(seen.name, seen.nth) for seen in proxy.calls] == [("count", 1), ("count", 2), ("count", 3), ("0" * 40, 1)]


async def test_the_scripts_of_redisflow_are_known(proxy):
    script = load_scripts().by_name["await_run"]
    async with clients(proxy) as [client]:
        await client.ask("EVALSHA", script.sha, 1, "rf:{x:0}:", "run")
    assert proxy.calls[0].name == "await_run"


async def test_a_transaction_is_answered_call_by_call(proxy, key):
    proxy.on(call("INCR", nth=2)).answer("OOM no")
    async with clients(proxy) as [client]:
        client.send(("MULTI",), *increments(key, 3), ("EXEC",), ("PING",))
        assert [str(await client.next()) for _ in range(6)] == [
            "b'OK'",
            "b'QUEUED'",
            "OOM no",
            "b'QUEUED'",
            "[1, 2]",
            "b'PONG'",
        ]


async def test_a_blocking_pop_is_answered_when_its_time_has_come(proxy, key, direct):
    proxy.on(call("PING", nth=2)).answer("ERR after the pop")
    async with clients(proxy) as [client]:
        client.send(("BLPOP", key, 0), ("PING",), ("PING",))
        assert await client.is_silent(0.05)
        await direct("LPUSH", key, "token")
        assert await client.next() == [key.encode(), b"token"]
        assert await client.next() == b"PONG"
        assert str(await client.next()) == "ERR after the pop"


@pytest.mark.parametrize("protocol", [2, 3])
async def test_messages_answer_nothing(proxy, key, direct, protocol):
    # RESP3 lets a subscriber call anything; what its calls are answered must not be mixed up with its messages.
    proxy.on(call("PING", nth=2)).answer("ERR no")
    async with clients(proxy) as [client]:
        await client.ask("HELLO", protocol)
        client.send(("SUBSCRIBE", f"{key}a", f"{key}b"), ("SSUBSCRIBE", f"{key}c"))
        words = [(await client.next())[0] for _ in range(3)]
        assert words == [b"subscribe", b"subscribe", b"ssubscribe"]
        for number in range(3):
            client.send(("PING",))
            await direct("PUBLISH", f"{key}a", number)
            await direct("SPUBLISH", f"{key}c", number)
        seen = [await client.next() for _ in range(9)]
        assert [item[2] for item in seen if isinstance(item, list) and item[0] == b"message"] == [b"0", b"1", b"2"]
        assert [item[2] for item in seen if isinstance(item, list) and item[0] == b"smessage"] == [b"0", b"1", b"2"]
        pongs = [item for item in seen if not isinstance(item, list) or item[0] == b"pong"]
        assert [isinstance(item, Refused) for item in pongs] == [False, True, False]
        client.send(("UNSUBSCRIBE",), ("SUNSUBSCRIBE",), ("PING",), ("ECHO", "plain"))
        ends = [await client.next() for _ in range(5)]
        assert sorted(end[0] for end in ends[:3]) == [b"sunsubscribe", b"unsubscribe", b"unsubscribe"]
        assert ends[3:] == [b"PONG", b"plain"]


async def test_a_reply_after_messages_is_still_the_reply_of_its_call(proxy, key, direct):
    proxy.on(call("SSUBSCRIBE", nth=2)).drop_reply(close=False)
    async with clients(proxy) as [client]:
        assert (await client.ask("SSUBSCRIBE", f"{key}a"))[0] == b"ssubscribe"
        await direct("SPUBLISH", f"{key}a", "one")
        assert (await client.next())[2] == b"one"
        client.send(("SSUBSCRIBE", f"{key}b"))
        assert await client.is_silent()
        await direct("SPUBLISH", f"{key}a", "two")
        assert await client.is_silent()


async def test_a_blackhole_swallows_both_ways_and_closes_nothing(proxy, key, direct):
    async with clients(proxy, 2) as [client, other]:
        assert await client.ask("INCR", key) == 1
        proxy.blackhole()
        client.send(("INCR", key))
        other.send(("INCR", key))
        assert await client.is_silent()
        assert await direct("GET", key) == b"1"
        proxy.heal()
        assert {await client.next(), await other.next()} == {2, 3}
        proxy.blackhole("replies")
        client.send(("INCR", key))
        assert await client.is_silent()
        assert await direct("GET", key) == b"4"
        proxy.heal(resume=False)
        assert await client.is_silent()
        async with clients(proxy) as [late]:
            assert await late.ask("INCR", key) == 5
        assert proxy.open_connections == 3


async def test_a_call_may_begin_a_blackhole(proxy, key, direct):
    rule = proxy.on(call("INCR", nth=2)).blackhole("replies")
    async with clients(proxy) as [client]:
        client.send(*increments(key, 3))
        await rule.wait()
        await eventually(lambda: counts(direct, key, b"3"))
        proxy.heal()
        assert [await client.next() for _ in range(3)] == [1, 2, 3]


async def test_all_connections_may_be_closed_or_reset(proxy, key):
    async with clients(proxy, 2) as [one, two]:
        assert await one.ask("PING") == await two.ask("PING") == b"PONG"
        proxy.close_all()
        for client in (one, two):
            with pytest.raises(EOFError):
                await client.next()
        await until(lambda: proxy.open_connections == 0)
    async with clients(proxy) as [three]:
        assert await three.ask("PING") == b"PONG"
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            await three.next()
    assert proxy.opened == 3


async def test_a_slow_network_loses_nothing(proxy, key):
    proxy.slow_down(delay=0.001, bytes_per_s=1_000_000)
    async with clients(proxy) as [client]:
        client.send(("SET", key, b"x" * 50_000), ("GET", key))
        assert [await client.next(), await client.next()] == [b"OK", b"x" * 50_000]


async def test_a_server_that_is_not_there_is_a_closed_connection(valkey_url):
    async with open_proxy(("127.0.0.1", 1)) as proxy, clients(proxy) as [client]:
        with pytest.raises((EOFError, ConnectionResetError)):
            await client.ask("PING")


async def test_its_url_is_the_servers_with_another_address(valkey_url):
    async with open_proxy("redis://user:pw@127.0.0.1:1/3") as proxy:
        assert proxy.url == f"redis://user:pw@127.0.0.1:{proxy.port}/3"
    with pytest.raises(ValueError, match="host and port"):
        async with open_proxy("unix:///run/redis.sock"):
            pass


async def test_what_is_not_the_protocol_is_raised_at_the_end(valkey_url):
    with pytest.raises(NotResp):
        async with open_proxy(valkey_url) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            writer.write(b"*x\r\n")
            assert await reader.read() == b""
            writer.close()


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For a server on 127.0.0.1, and for those who trust it."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redisflow tests")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    path = folder / "both.pem"
    path.write_bytes(
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=str(path))


async def test_both_of_its_sides_may_be_tls(valkey_url, key, tmp_path):
    server, client = certificate(tmp_path)
    async with (
        open_proxy(valkey_url, ssl=server) as inner,
        open_proxy(("127.0.0.1", inner.port), target_ssl=client) as outer,
        open_proxy(("127.0.0.1", inner.port), ssl=server, target_ssl=client) as both,
    ):
        assert both.url.startswith("rediss://")
        outer.on(call("INCR", nth=2)).answer("OOM no")
        inner.on(call("INCR", nth=2)).reset_after()
        async with clients(outer) as [plain], clients(both, ssl=client) as [secret]:
            plain.send(*increments(key, 2), ("ECHO", b"x" * 100_000))
            assert [str(await plain.next()) for _ in range(2)] == ["1", "OOM no"]
            assert await plain.next() == b"x" * 100_000
            with pytest.raises((ConnectionError, EOFError, ssl.SSLError)):
                await secret.ask("INCR", key)
        async with clients(outer) as [plain]:
            assert await plain.ask("GET", key) == b"2"
