"""Payloads compressed, encrypted and in a store: nothing changes for who writes workflows."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from redisflow import (
    AesGcm,
    BackendUnavailable,
    CannotDecode,
    FileStore,
    Payloads,
    PayloadStore,
    PayloadStoreUnavailable,
    PayloadTooLarge,
    RedisFlow,
    Retention,
    RetryPolicy,
    S3Store,
    Step,
    StepError,
    StepOptions,
    WorkflowFailed,
)
from redisflow.run_id import partition_of
from redisflow.worker.retention import RetentionService
from tests.conformance.world import World
from tests.keyspace import raw_calls
from tests.stories.world import QUICK, eventually, until

KEYS = {"spring": b"1" * 32, "summer": b"2" * 32}


def sealed(store: PayloadStore | None, write: str = "spring", **options: Any) -> Payloads:
    return Payloads(compress=True, encrypt=AesGcm(write=write, keys=KEYS), store=store, store_above="4KB", **options)


@pytest.fixture
async def flow(server_url: str, namespace: str, tmp_path: Path) -> AsyncIterator[RedisFlow]:
    """Return a flow with everything switched on."""
    async with RedisFlow(server_url, namespace=namespace, payloads=sealed(FileStore(tmp_path))) as made:
        yield made


def define(flow: RedisFlow) -> Any:
    attempts: list[int] = []

    async def fetch(size: int) -> bytes:
        return b"secret" + secrets.token_bytes(size)

    async def flaky() -> str:
        attempts.append(1)
        if len(attempts) % 3:
            raise ConnectionError("secret: not yet")
        return "secret: done"

    async def broken() -> None:
        raise ValueError("secret: never")

    @flow.define_workflow("everything")
    async def everything(document: str, step: Step) -> dict[str, Any]:
        large = await step.run("secret-fetch", fetch, 50_000)
        seen = await step.run(StepOptions("secret-flaky", retry=QUICK), flaky)
        await step.sleep("secret-nap", "50ms")
        try:
            await step.run(StepOptions("secret-broken", retry=QUICK), broken)
        except StepError as error:
            seen += f", {error.message}"
        return {"document": document, "large": large, "seen": seen}

    return everything


async def test_a_workflow_with_retries_failures_and_sleeps_stores_nothing_that_can_be_read(
    flow: RedisFlow, server_url: str, tmp_path: Path
):
    everything = define(flow)
    document = "secret: " + "text " * 10_000 + secrets.token_hex(20_000)
    handle = await everything.run(document)
    async with flow.new_worker():
        output = await handle.result(timeout="1m")
    assert output["document"] == document
    assert output["large"].startswith(b"secret")
    assert output["seen"] == "secret: done, secret: never"
    run = await handle.get()
    assert run.input == document
    assert run.output == output
    assert [step.key for step in run.steps][:2] == ["secret-fetch", "secret-flaky"]
    world = World(flow.backend, server_url)  # type: ignore[arg-type]  # more than the contract: it is on Redis
    try:
        assert b"secret" not in repr(world.snapshot()).encode()
    finally:
        world.close()
    files = await asyncio.to_thread(lambda: [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()])
    assert len(files) == 3  # the input, a step's result, the output
    assert not any(b"secret" in data for data in files)


async def test_what_a_run_says_is_sealed_and_read_by_who_has_the_key(flow: RedisFlow, server_url: str, namespace: str):
    async def speak(step: Step) -> None:
        step.emit("secret: from a body", kind="token")
        step.set_state("words", "secret: one")

    @flow.define_workflow("speaking")
    async def speaking(step: Step) -> None:
        step.emit("secret: from the code")
        step.set_state("phase", "secret: begun" * 100)
        await step.run("secret-speak", speak, step)
        step.log.info("secret: done")

    handle = await speaking.run()
    async with flow.new_worker():
        await handle.result(timeout="1m")
    said = [(event.data, event.step) async for event in handle.events()]
    assert said == [
        ("secret: from the code", None),
        ("secret: from a body", "secret-speak"),
        ({"level": "INFO", "message": "secret: done"}, None),
    ]
    assert await handle.state() == {"phase": "secret: begun" * 100, "words": "secret: one"}
    world = World(flow.backend, server_url)  # type: ignore[arg-type]  # more than the contract: it is on Redis
    try:
        assert b"secret" not in repr(world.snapshot()).encode()
    finally:
        world.close()
    async with RedisFlow(server_url, namespace=namespace) as keyless:
        with pytest.raises(CannotDecode, match="not told how to open it"):
            await (await keyless.get_handle(handle.id, speaking)).state()


async def test_the_errors_of_a_failed_run_are_sealed_as_well(flow: RedisFlow, server_url: str):
    @flow.define_workflow("failing")
    async def failing(step: Step) -> None:
        raise ValueError("the secret is harpsichord")

    handle = await failing.run()
    async with flow.new_worker():
        with pytest.raises(WorkflowFailed, match="the secret is harpsichord"):
            await handle.result(timeout="1m")
    world = World(flow.backend, server_url)  # type: ignore[arg-type]  # more than the contract: it is on Redis
    try:
        assert b"harpsichord" not in repr(world.snapshot()).encode()
    finally:
        world.close()


async def test_signals_are_sealed_for_the_run_that_they_are_sent_to(flow: RedisFlow, server_url: str):
    @flow.define_workflow("approval")
    async def approval(step: Step) -> list[Any]:
        return [await step.wait_for_signal("decision"), await step.wait_for_signal("decision")]

    handle, large = await approval.run(), secrets.token_hex(20_000)
    await handle.signal("decision", "secret: yes")
    world = World(flow.backend, server_url)  # type: ignore[arg-type]  # more than the contract: it is on Redis
    async with flow.new_worker():
        await until(flow, handle.id, lambda run: run.waiting_for == "signal")
        await handle.signal("decision", large)
        assert await handle.result(timeout="1m") == ["secret: yes", large]
    assert b"secret" not in repr(world.snapshot()).encode()
    other = await approval.run()
    await other.signal("decision", "secret: no")
    assert b"secret" not in repr(world.snapshot()).encode()
    world.close()


async def test_broadcasts_are_sealed_for_whoever_waits_for_their_name(flow: RedisFlow, server_url: str):
    @flow.define_workflow("watcher")
    async def watcher(step: Step) -> list[Any]:
        return [await step.wait_for_signal("news"), await step.wait_for_signal("news")]

    large = secrets.token_hex(50_000)
    async with flow.new_worker():
        handles = [await watcher.run() for _ in range(2)]
        for handle in handles:
            await until(flow, handle.id, lambda run: run.waiting_for == "signal")
        assert (await flow.send_signal("news", "secret: yes")).count == 2
        await flow.send_signal("news", large, retain="1m")
        assert [await handle.result(timeout="1m") for handle in handles] == [["secret: yes", large]] * 2
    world = World(flow.backend, server_url)  # type: ignore[arg-type]  # more than the contract: it is on Redis
    assert b"secret" not in repr(world.snapshot()).encode()
    world.close()


async def test_child_workflows_take_and_give_sealed_payloads(flow: RedisFlow, server_url: str):
    @flow.define_workflow("child")
    async def child(word: str, step: Step) -> str:
        if word == "secret: bad":
            raise ValueError("secret: no such word")
        return await step.run("double", lambda: word + word)

    @flow.define_workflow("parent")
    async def parent(words: list[str], step: Step) -> list[str]:
        results = [await step.run_workflow(child, word) for word in words]
        try:
            await step.run_workflow(child, "secret: bad")
        except StepError as error:
            results.append(error.message)
        return results

    words = ["secret: yes", "secret" + secrets.token_hex(20_000)]
    handle = await parent.run(words)
    async with flow.new_worker():
        output = await handle.result(timeout="1m")
    assert output[:2] == [word + word for word in words]
    assert "secret: no such word" in output[2]
    world = World(flow.backend, server_url)  # type: ignore[arg-type]  # more than the contract: it is on Redis
    assert b"secret" not in repr(world.snapshot()).encode()
    world.close()


async def test_a_failed_run_is_retried_run_again_and_forked(flow: RedisFlow, server_url: str, tmp_path: Path):
    is_away = True

    async def fetch(word: str) -> str:
        return word + "secret" + secrets.token_hex(20_000)

    async def charge(part: str) -> str:
        if is_away:
            raise ConnectionError("secret: the bank is away")
        return f"{len(part)} secret"

    @flow.define_workflow("order")
    async def order(word: str, step: Step) -> list[str]:
        part = await step.run("secret-fetch", fetch, word)
        paid = await step.run(StepOptions("secret-charge", retry=RetryPolicy(maximum_attempts=1)), charge, part)
        return [word, part, paid]

    word = "secret: " + secrets.token_hex(20_000)
    handle = await order.run(word)
    async with flow.new_worker():
        with pytest.raises(WorkflowFailed, match="the bank is away"):
            await handle.result(timeout="1m")
        is_away = False
        await handle.retry()
        first = await handle.result(timeout="1m")
        assert (first[0], first[2]) == (word, f"{len(first[1])} secret")
        again = await (await handle.rerun()).result(timeout="1m")
        assert (again[0], again[1] != first[1]) == (word, True)
        fork = await handle.fork("secret-charge", input="secret: another")
        assert await fork.result(timeout="1m") == ["secret: another", *first[1:]]
        edited = "secret" + secrets.token_hex(10_000)
        mended = await handle.fork(steps={"secret-fetch": edited})
        assert await mended.result(timeout="1m") == [word, edited, f"{len(edited)} secret"]
    run = await handle.get()
    assert (run.retries, [step.key for step in run.steps]) == (1, ["secret-fetch", "secret-charge"])
    world = World(flow.backend, server_url)  # type: ignore[arg-type]  # more than the contract: it is on Redis
    marks = {one.id: world.field(one.id, "h") for one in (handle, fork, mended)}
    for run_id, mark in marks.items():
        fields = world.snapshot()[f"{world.prefix_of(partition_of(run_id))}run:{run_id}"]
        assert mark is not None
        count, size = map(int, mark.split(b":"))
        assert size == len(fields[b"i"]) + sum(len(fields[b"%d" % number]) for number in range(count))
    assert b"secret" not in repr(world.snapshot()).encode()
    world.close()
    for path in await asyncio.to_thread(lambda: [found for found in tmp_path.rglob("*") if found.is_file()]):
        assert b"secret" not in await asyncio.to_thread(path.read_bytes)


async def test_it_is_switched_on_and_keys_are_rotated_under_a_waiting_run(
    server_url: str, namespace: str, tmp_path: Path
):
    store = FileStore(tmp_path)
    rotations = [None, sealed(None), sealed(store), sealed(store, "summer"), sealed(store, "summer")]

    async def number(index: int) -> str:
        return f"{index}" * 10_000

    handle_id = ""
    for index, payloads in enumerate(rotations):
        async with RedisFlow(server_url, namespace=namespace, payloads=payloads) as flow:

            @flow.define_workflow("long")
            async def long(step: Step) -> list[int]:
                parts = []
                for place in range(len(rotations)):
                    parts.append(len(await step.run(f"part-{place}", number, place)))
                    await step.sleep(f"nap-{place}", "40ms")
                return parts

            if not handle_id:
                handle_id = (await long.run()).id
            async with flow.new_worker():
                await eventually(partial(_has_step, flow, handle_id, f"nap-{index}"))
                if index == len(rotations) - 1:
                    handle = await flow.get_handle(handle_id, long)
                    assert await handle.result(timeout="1m") == [10_000] * len(rotations)


async def test_a_run_whose_key_is_missing_here_waits_for_a_worker_that_has_it(
    flow: RedisFlow, server_url: str, namespace: str, tmp_path: Path, caplog
):
    everything = define(flow)
    handle = await everything.run("secret document")
    poor = AesGcm(write="summer", keys={"summer": KEYS["summer"]})
    async with RedisFlow(
        server_url, namespace=namespace, payloads=Payloads(encrypt=poor, store=FileStore(tmp_path))
    ) as other:
        define(other)
        own = await other.run_workflow("everything", "another document")
        with caplog.at_level(logging.ERROR):
            async with other.new_worker():
                await eventually(lambda: _is_stranded(flow, handle.id))
                assert (await own.result(timeout="1m"))["document"] == "another document"
    assert f"run.stranded {handle.id}: what is stored for it cannot be read here" in caplog.text
    assert "with key 'spring', which is not among the keys here (summer)" in caplog.text
    assert "secret" not in caplog.text
    async with flow.new_worker():
        assert (await handle.result(timeout="1m"))["document"] == "secret document"


async def _has_step(flow: RedisFlow, run_id: str, key: str) -> bool:
    return (await flow.get_run(run_id)).step(key) is not None


async def _is_stranded(flow: RedisFlow, run_id: str) -> bool:
    run = await flow.get_run(run_id)
    return (run.status, run.waiting_for) == ("waiting", "stranded")


async def test_a_worker_that_is_told_of_no_payloads_suspends_the_run_and_says_what_to_do(
    flow: RedisFlow, server_url: str, namespace: str, caplog
):
    handle = await define(flow).run("secret document")
    async with RedisFlow(server_url, namespace=namespace) as plain:
        define(plain)
        with caplog.at_level(logging.ERROR):
            async with plain.new_worker():
                run = await until(flow, handle.id, lambda run: run.waiting_for == "suspended")
    assert "RedisFlow(payloads=...)" in run.error.message
    async with flow.new_worker():
        assert (await handle.result(timeout="1m"))["document"] == "secret document"


async def test_large_values_are_taken_where_there_is_a_store(flow: RedisFlow):
    @flow.define_workflow("sized")
    async def sized(data: bytes, step: Step) -> int:
        return len(await step.run("double", lambda: data + data))

    handle = await sized.run(secrets.token_bytes(3_000_000))
    async with flow.new_worker():
        assert await handle.result(timeout="1m") == 6_000_000
    with pytest.raises(PayloadTooLarge, match="over the limit of 32,000,000"):
        await sized.run(bytes(32_000_001))


async def test_large_payloads_go_through_the_s3_protocol(
    valkey_url: str, namespace: str, make_s3_store: Callable[..., S3Store]
):
    store = make_s3_store(bucket="payloads")
    async with RedisFlow(valkey_url, namespace=namespace, payloads=sealed(store)) as flow:
        handle = await define(flow).run(secrets.token_hex(100_000))
        async with flow.new_worker():
            assert (await handle.result(timeout="1m"))["large"].startswith(b"secret")
        client, _ = store._connection.get()
        keys = [found["Key"] for found in client.list_objects_v2(Bucket="payloads")["Contents"]]
        assert len(keys) == 3
        assert all(key.split("/")[2] == handle.id for key in keys)
        await flow.backend.payloads.delete_run_payloads(handle.id)
        assert client.list_objects_v2(Bucket="payloads")["KeyCount"] == 0
    store.close()


async def test_what_a_run_has_in_the_store_goes_when_the_run_does(flow: RedisFlow, tmp_path: Path):
    backend = await flow.open()

    @flow.define_workflow("short", retention=Retention(succeeded=0))
    async def short(data: bytes, step: Step) -> int:
        return len(data)

    def files() -> int:
        return sum(path.is_file() for path in tmp_path.rglob("*"))

    async with flow.new_worker(lease="10m"):
        handles = [await short.run(secrets.token_bytes(50_000)) for _ in range(3)]
        for handle in handles:
            await handle.result(timeout="1m")
    assert await asyncio.to_thread(files) == 3
    services = [RetentionService(backend, number, "w1", 15) for number in range(backend.partitions)]
    assert sum([await service.run_once() for service in services]) == 3
    assert await asyncio.to_thread(files) == 0


async def test_a_flow_whose_store_is_away_does_not_open(valkey_url: str, namespace: str):
    store = S3Store(
        bucket="payloads",
        endpoint_url="http://127.0.0.1:9",
        region="us-east-1",
        access_key_id="id",
        secret_access_key="key",
        timeout="200ms",
    )
    flow = RedisFlow(valkey_url, namespace=namespace, payloads=sealed(store), call_timeout=timedelta(seconds=5))
    with pytest.raises(BackendUnavailable, match="the payload store cannot be used: S3Store") as caught:
        await flow.open()
    assert isinstance(caught.value, PayloadStoreUnavailable)
    await flow.close()
    store.close()


async def test_what_is_stored_beside_the_store_is_bounded_by_what_the_scripts_take(
    valkey_url: str, namespace: str, tmp_path: Path
):
    """A commit that they refuse would bring its run back for ever."""

    async def give() -> bytes:
        return bytes(1_000)

    async with RedisFlow(valkey_url, namespace=namespace, payloads=sealed(FileStore(tmp_path))) as flow:

        @flow.define_workflow("long")
        async def long(step: Step) -> int:
            return len(await step.run("give", give))

        handle = await long.run()
        call, close = raw_calls(valkey_url)
        # As if it had a thousand results, none of them large enough for the store.
        call("HSET", f"rf:{{{flow.namespace}:0}}:run:{handle.id}", "h", f"0:{(128 << 20) - 10}")
        async with flow.new_worker():
            with pytest.raises(WorkflowFailed, match="HistoryTooLong: the result of step 'give' has"):
                await handle.result(timeout="1m")
        close()
