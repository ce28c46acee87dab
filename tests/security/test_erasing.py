"""A run that is deleted is gone: no byte of it is left, in Redis or in a payload store."""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from redisflow import AesGcm, FileStore, Payloads, RedisFlow, RetryPolicy, Step, StepOptions, WorkflowFailed
from tests.keyspace import raw_calls
from tests.leaks import purge_all

if TYPE_CHECKING:
    from collections.abc import Callable

QUICK = RetryPolicy(initial_interval="5ms", maximum_attempts=2, jitter=0)


async def live(flow: RedisFlow, word: str, *, ends: str) -> str:
    """One run that leaves the word wherever a run can leave one."""

    @flow.define_workflow("child")
    async def child(text: str, step: Step) -> str:
        return text

    @flow.define_workflow("buy")
    async def buy(text: str, step: Step) -> str:
        async def body() -> str:
            step.set_state("card", text)
            step.emit(text)
            step.heartbeat(text)
            return text

        def fail() -> None:
            raise ValueError(text)

        await step.run(f"of {text}", body)
        await step.run_workflow(child, text)
        await step.redis("count", "return ARGV[1]", args=[text])
        await step.wait_for_signal("go", str)
        if ends == "failed":
            await step.run(StepOptions("fail", retry=QUICK), fail)
        return text * 20_000

    async with flow.new_worker():
        handle = await buy.run(word, tags={"of": word[:20]}, idempotency_key=word)
        await handle.signal("go", word)
        if ends == "failed":
            with pytest.raises(WorkflowFailed):
                await handle.result(timeout="60s")
        else:
            await handle.result(timeout="60s")
        # Whatever is written beside the end has been written by now.
        await asyncio.sleep(0.05)
    return handle.id


def everything(raw: Callable[..., Any], namespace: str) -> dict[str, bytes]:
    """By every key of a namespace, without its prefix, all that is in it."""
    found: dict[str, bytes] = {}
    prefix = f"rf:{{{namespace}:0}}:"
    for key in raw("KEYS", f"{prefix}*"):
        kind = raw("TYPE", key)
        text = kind.decode() if isinstance(kind, bytes) else kind
        read: tuple[Any, ...] = {
            "hash": ("HGETALL", key),
            "list": ("LRANGE", key, 0, -1),
            "set": ("SMEMBERS", key),
            "zset": ("ZRANGE", key, 0, -1),
            "stream": ("XRANGE", key, "-", "+"),
            "string": ("GET", key),
        }[text]
        found[key.decode().removeprefix(prefix)] = repr(raw(*read)).encode()
    return found


def naming(stored: dict[str, bytes], word: str) -> set[str]:
    """The kinds of keys that have this word in their name or in what they hold."""
    return {name.partition(":")[0] for name, held in stored.items() if word in name or word.encode() in held}


@pytest.mark.parametrize("ends", ["succeeded", "failed"])
@pytest.mark.parametrize("by", ["delete", "retention"])
@pytest.mark.parametrize("stored", ["plain", "sealed"])
async def test_nothing_of_a_deleted_run_is_left(
    server_url: str, namespace: str, tmp_path: Path, by: str, ends: str, stored: str
):
    word = "canary" + secrets.token_hex(8)
    payloads = None
    if stored == "sealed":
        seal = AesGcm(write="k", keys={"k": os.urandom(32)})
        payloads = Payloads(encrypt=seal, store=FileStore(tmp_path), store_above="16KB")
    raw, close = raw_calls(server_url)
    async with RedisFlow(server_url, namespace=namespace, payloads=payloads) as flow:
        run_id = await live(flow, word, ends=ends)
        held = everything(raw, namespace)
        assert {"run", "done", "state", "events", "idem"} <= naming(held, run_id)
        assert "run" in naming(held, word) or stored == "sealed"
        if by == "delete":
            async for run in flow.list_runs():
                await flow.delete_run(run.id)
        else:
            await purge_all(flow, raw)
        left = everything(raw, namespace)
        assert naming(left, word) == set()
        # Its id outlives it where the same start must not be made twice, and as what a worker claimed last.
        assert naming(left, run_id) <= {"idem", "worker"}
    close()
    # What retention leaves in a store is for its worker: tests/stories/test_sealed_payloads.py.
    assert by == "retention" or not _files_of(tmp_path, run_id)


def _files_of(folder: Path, run_id: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and run_id in str(path)]
