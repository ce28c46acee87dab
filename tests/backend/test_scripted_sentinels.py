"""Sentinels that keep silent, and such as do not let us in any more: neither ends the search for the primary."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from redisflow.backend.connect import read_url
from redisflow.backend.scripts import Scripts, load_scripts
from redisflow.backend.single import ServerEndpoint, SingleServer
from tests.backend.scripted import ScriptedServer, open_scripted
from tests.backend.waiting import until

SCRIPTS = Scripts({"open_namespace": load_scripts().open_namespace})


def naming(primary: ScriptedServer) -> bytes:
    """What a Sentinel answers which knows this one."""
    words = ["ip", "127.0.0.1", "port", f"{primary.port}", "flags", "master"]
    return f"*{len(words)}\r\n".encode() + b"".join(f"${len(word)}\r\n{word}\r\n".encode() for word in words)


def primary_of(command: list[bytes]) -> bytes:
    return b"*1\r\n$6\r\nmaster\r\n" if command[0] == b"ROLE" else b"+" + command[0] + b"\r\n"


async def test_sentinels_that_are_silent_keep_nobody_from_one_that_answers(monkeypatch):
    """Of five, two stand on machines that are gone: asking both takes all the time that there is to connect."""
    monkeypatch.setattr("redisflow.backend.single.CONNECT_S", 0.2)
    monkeypatch.setattr("redisflow.backend.wire.CONNECT_S", 0.2)
    async with AsyncExitStack() as stack:
        primary = await stack.enter_async_context(open_scripted(primary_of))
        silent = [await stack.enter_async_context(open_scripted(lambda _: None)) for _ in range(3)]
        knows = await stack.enter_async_context(open_scripted(lambda _: naming(primary)))
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in [*silent, knows])
        server = SingleServer(read_url(f"redis+sentinel://{hosts}/main"))
        stack.push_async_callback(server.close)
        assert await asyncio.wait_for(server.send("", ("ECHO", "x")), 30) == b"ECHO"
        asked = [len(one.commands) for one in silent]
        await server.send("", ("ECHO", "x"))
        endpoint = server.open_calls()._endpoint
        assert await endpoint.locate() == ("127.0.0.1", primary.port)
        assert [len(one.commands) for one in silent] == asked  # whoever answered last is asked first


async def test_sentinels_that_let_nobody_in_for_a_while_do_not_end_the_watch_for_another_primary(monkeypatch):
    """Their password is changed, and changed back; meanwhile nobody is replaced, and afterwards somebody is."""
    monkeypatch.setattr("redisflow.backend.single.SENTINEL_LOOK_S", 0.02)
    async with open_scripted(primary_of) as old, open_scripted(primary_of) as new:
        leads: ScriptedServer | None = old
        refusals = 0

        def answer(command: list[bytes]) -> bytes:
            nonlocal refusals
            if command[0] == b"AUTH":
                refusals += leads is None
                return b"-WRONGPASS invalid username-password pair\r\n" if leads is None else b"+OK\r\n"
            assert leads is not None
            return naming(leads)

        async with open_scripted(answer) as sentinel:
            server = SingleServer(read_url(f"redis+sentinel://127.0.0.1:{sentinel.port}/main?sentinel_password=secret"))
            await server.load(SCRIPTS)
            assert isinstance(server._endpoint, ServerEndpoint)
            leads = None
            await until(lambda: refusals >= 2)
            leads = new
            await until(lambda: server._endpoint.last == ("127.0.0.1", new.port))
            assert await asyncio.wait_for(server.send("", ("ECHO", "x")), 30) == b"ECHO"
            assert new.commands
            await server.close()
