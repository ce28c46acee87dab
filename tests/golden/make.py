"""Make a golden store: a namespace with a run in every state, as the redisflow that is on the path writes it.

    PYTHONPATH=<checkout>:<this checkout> python -m tests.golden.make <name>.json [--features]

It starts a server and worker processes of its own, kills the last of these with SIGKILL, and writes every key as the
server's own dump of it. Tracebacks in it name the files of checkout and script.
`--features` adds what the first engine did not have; see README.md.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import redis

from redisflow import RedisFlow, define_workflow_spec
from redisflow.testing import ServerOptions, start_server
from tests.golden.golden_features import register_features, start_features
from tests.golden.golden_workflows import LATER, MONEY, Maker, register

NAMESPACE = "golden"
PREFIX = f"rf:{{{NAMESPACE}:"
WITHIN_S = 60.0


async def work(url: str, *, drifts: bool, features: bool) -> None:
    """What a worker process does: as slowly as it must, and until it is killed."""
    # Its name is made of the machine's, which is nobody's business.
    socket.gethostname = lambda: "golden"
    flow = RedisFlow(url, namespace=NAMESPACE)
    maker = Maker(making=True, drifts=drifts)
    register(flow, maker)
    if features:
        register_features(flow, maker)
    await flow.new_worker(lease="1h", queues=["default", "slow"]).run()


def hire(url: str, *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "tests.golden.make", "--worker", url, *options])


async def until(look: Callable[[], Awaitable[object]]) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while not await look():
        assert time.monotonic() < deadline_s, "a run did not come where it should"
        await asyncio.sleep(0.05)


async def make(url: str, options: list[str]) -> dict[str, str]:
    """Bring a run into each state; returns their ids by name."""
    flow = RedisFlow(url, namespace=NAMESPACE)
    register(flow, Maker(making=True))
    ids: dict[str, str] = {}

    async def start(name: str, workflow: str, value: Any = None, **given: Any) -> None:
        ids[name] = (await flow.run_workflow(workflow, value, **given)).id

    def stands(name: str, status: str, reason: str | None = None, steps: int = 0) -> Callable[[], Awaitable[bool]]:
        async def look() -> bool:
            run = await flow.get_run(ids[name])
            return (run.status, run.waiting_for) == (status, reason) and len(run.steps) >= steps

        return look

    # The record of this one is written by other code than the worker has that meets it next.
    first = hire(url, *options)
    await start("suspended", "drifting")
    await until(stands("suspended", "waiting", "timer"))
    first.send_signal(signal.SIGTERM)
    first.wait(WITHIN_S)
    worker = hire(url, "--drifts", *options)
    await until(stands("suspended", "waiting", "suspended"))
    await start("succeeded", "chain", "done")
    await start("failed", "failing")
    await start("held", "chain", "held")
    await start("timer", "typed", MONEY, version="v1")
    await start("fan", "fan")
    await start("retry", "retrying")
    await start("caught", "caught")
    await start("workflow-retry", "again")
    await start("deadline", "caught", deadline_at="80s")
    await start("canceled", "caught")
    await start("start", "chain", "later", available_at=LATER)
    ids["stranded"] = (await flow.run_workflow(define_workflow_spec("unheard-of", output=str))).id
    await start("with-key", "chain", "keyed", idempotency_key="the-key", idempotency_ttl="30d")
    await until(stands("canceled", "waiting", "timer"))
    await flow.cancel_workflow_run(ids["canceled"])
    for name, status, reason, steps in (
        ("succeeded", "succeeded", None, 2),
        ("with-key", "succeeded", None, 2),
        ("failed", "failed", None, 1),
        ("held", "running", None, 1),
        ("timer", "waiting", "timer", 2),
        ("fan", "running", None, 2),
        ("retry", "waiting", "retry", 1),
        ("caught", "waiting", "timer", 2),
        ("workflow-retry", "waiting", "retry", 1),
        ("deadline", "waiting", "timer", 2),
        ("start", "waiting", "start", 0),
        ("stranded", "waiting", "stranded", 0),
    ):
        await until(stands(name, status, reason, steps))
    if "--features" in options:
        await start_features(flow, ids, until, stands)
    worker.kill()
    worker.wait()
    await start("pending", "chain", "new")
    await flow.close()
    return ids


def dump(url: str) -> dict[str, list[Any]]:
    """By what follows the namespace in its name, each key's dump and its time to live in ms (0: none)."""
    client: Any = redis.Redis.from_url(url)
    found: dict[str, list[Any]] = {}
    for key in sorted(client.scan_iter(count=1000)):
        ttl_ms = max(0, client.pttl(key))
        if client.type(key) == b"hash":
            check_private(client.hgetall(key))
        found[key.decode().removeprefix(PREFIX)] = [base64.b64encode(client.dump(key)).decode(), ttl_ms]
    client.close()
    return found


def check_private(fields: dict[bytes, bytes]) -> None:
    """Where it was made is in no error's traceback and in no worker's name: make it in a folder of no meaning."""
    for name, value in fields.items():
        for private in (socket.gethostname(), sys.prefix, sys.base_prefix, str(Path.home())):
            assert private.encode() not in value, f"{name!r} holds {private!r}: {value!r}"


def main(arguments: list[str]) -> None:
    if arguments[0] == "--worker":
        asyncio.run(work(arguments[1], drifts="--drifts" in arguments, features="--features" in arguments))
        return
    path, *options = arguments
    binary = shutil.which("redis-server")
    assert binary, "a dump of Redis 7.0 is read by every server that redisflow works with: put its binary into PATH"
    with start_server(ServerOptions(provider=str(Path(binary).absolute()))) as server:
        ids = asyncio.run(make(server.url, options))
        store = {"server": server.version, "runs": ids, "keys": dump(server.url)}
    text = json.dumps(store, indent=0, sort_keys=True)
    Path(path).write_text(text + "\n")
    print(f"{path}: {len(ids)} runs, {len(store['keys'])} keys, {len(text):,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
