"""Callers without an event loop: scripts, views of Django and Flask, sync step bodies, forked server processes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import threading
import time
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from redisflow import (
    BackendUnavailable,
    CalledInEventLoop,
    InvalidInput,
    RedisFlow,
    ResultTimeout,
    RunNotFound,
    Step,
    WorkflowCanceled,
    WorkflowFailed,
    WorkflowHandle,
)
from redisflow.run_id import new_run_id


@pytest.fixture
def sync_flow(server_url: str, namespace: str):
    """Return a flow that only sync code uses."""
    flow = RedisFlow(server_url, namespace=namespace)
    yield flow
    flow.sync.close()


def test_a_script_starts_runs_and_waits_for_them(sync_flow):
    @sync_flow.define_workflow("greet")
    async def greet(name: str, step: Step) -> str:
        return await step.run("greet", lambda: f"hello {name}")

    @sync_flow.define_workflow("fail")
    async def fail(step: Step) -> None:
        raise RuntimeError("no")

    sync = sync_flow.sync
    early = sync.run_workflow(greet, "ada", idempotency_key="one")
    assert early.get().status == "pending"
    with pytest.raises(ResultTimeout):
        early.result(timeout="10ms")
    with sync.worker(lease="30s"):
        assert early.result(timeout="1m") == "hello ada"
        with pytest.raises(WorkflowFailed, match="RuntimeError: no"):
            sync.run_workflow(fail).result(timeout="1m")
    assert sync.run_workflow("greet", "ada", idempotency_key="one").id == early.id
    assert sync.get_handle(early.id, greet).result(timeout="1m") == "hello ada"
    assert sync.get_run(early.id).status == "succeeded"
    assert early.cancel() is False
    canceled = sync.run_workflow(greet, "bob")
    assert sync.cancel_workflow_run(canceled.id)
    with pytest.raises(WorkflowCanceled):
        canceled.result()
    with pytest.raises(InvalidInput):
        sync.run_workflow(greet, 5)
    with pytest.raises(RunNotFound):
        sync.get_run(new_run_id(0))


def test_an_operator_without_an_event_loop_sees_workers_strandings_and_losses(sync_flow):
    @sync_flow.define_workflow("greet", version="v1")
    async def greet(name: str, step: Step) -> str:
        return name

    sync = sync_flow.sync
    handle = sync.run_workflow(greet, "ada")
    assert (handle.durability, handle.confirm(timeout="1s")) == ("redis", True)
    (queue,) = sync.stranded().queues
    assert (queue.queue, queue.runs, queue.why) == ("default", 1, "no worker is alive")
    with sync.worker():
        assert handle.result(timeout="1m") == "ada"
        (worker,) = sync.workers()
        assert worker.serves("greet", "v1")
        assert sync.stranded(detailed=True).is_clear
    assert sync.workers(gone=True) == []
    assert sync.list_losses() == []


def test_whatever_is_async_can_be_called_and_iterated_over(sync_flow):
    @sync_flow.define_workflow("double")
    async def double(number: int, step: Step) -> int:
        return 2 * number

    @sync_flow.define_workflow("ask")
    async def ask(step: Step) -> int | None:
        return await step.wait_for_signal("answer", int)

    closed: list[asyncio.Task[object] | None] = []

    async def results(handles):
        begun_in = asyncio.current_task()
        try:
            async with asyncio.timeout(60):
                for handle in handles:
                    yield await sync_flow.sync._flow.get_run(handle.id)
        finally:
            closed.append(begun_in if asyncio.current_task() is begun_in else None)

    async def broken():
        yield 1
        raise ValueError("half way")

    sync = sync_flow.sync
    with sync.worker(lease="30s"):
        handles = sync.call(double.run_many, [1, 2, 3])
        assert [handle.result(timeout="1m") for handle in handles] == [2, 4, 6]
        assert handles[0].call(WorkflowHandle.cancel) is False
        asking = [sync.run_workflow(ask), sync.run_workflow(ask)]
        asking[0].call(lambda run: run.signal("answer", 1))
        sync.call(sync_flow.signal, asking[1].id, "answer", 2, idempotency_key="once")
        assert [run.result(timeout="1m") for run in asking] == [1, 2]
    assert [run.output for run in sync.iterate(results, handles)] == [2, 4, 6]
    iterator = sync.iterate(results, handles)
    assert next(iterator).output == 2
    iterator.close()
    sync.close()
    # From its first item to its end in one task, and closed when it is left early.
    assert len(closed) == 2
    assert None not in closed
    items = sync.iterate(broken)
    assert next(items) == 1
    with pytest.raises(ValueError, match="half way"):
        next(items)


async def test_called_in_an_event_loop_it_says_what_to_await(flow):
    @flow.define_workflow("asks-itself")
    async def asks_itself(step: Step) -> str:
        flow.sync.get_run(step.info.id)
        return "never"

    for wrong in (
        lambda: flow.sync.get_run("any"),
        lambda: flow.sync.run_workflow(asks_itself),
        lambda: flow.sync.iterate(asks_itself.run_many, []),
        lambda: flow.sync.worker().__enter__(),
        flow.sync.close,
    ):
        with pytest.raises(CalledInEventLoop, match=r"await workflow\.run"):
            wrong()
    async with flow.new_worker(lease="30s"):
        with pytest.raises(WorkflowFailed, match="CalledInEventLoop"):
            await (await asks_itself.run()).result(timeout="1m")


async def test_sync_bodies_call_it_beside_the_worker_that_waits_for_them(flow):
    """The worker's loop, the portal's loop and the caller's each have a connection: none waits for another."""

    @flow.define_workflow("child")
    async def child(number: int, step: Step) -> int:
        return number + 1

    def ask(number: int) -> int:
        answer: int = flow.sync.run_workflow(child, number).result(timeout="1m")
        return answer

    @flow.define_workflow("parent")
    async def parent(step: Step) -> list[int]:
        return await step.map("ask", ask, range(20))

    try:
        async with flow.new_worker(lease="30s"):
            handle = await parent.run()
            beside, again = await asyncio.gather(
                asyncio.to_thread(ask, 41), asyncio.to_thread(flow.sync.get_run, handle.id)
            )
            assert beside == 42
            assert again.id == handle.id
            assert await handle.result(timeout="1m") == list(range(1, 21))
        # The portal may end without the loop beside it noticing, and the other way round.
        await asyncio.to_thread(flow.sync.close)
        assert (await flow.get_run(handle.id)).status == "succeeded"
        assert (await asyncio.to_thread(flow.sync.get_run, handle.id)).status == "succeeded"
        await flow.close()
        assert (await asyncio.to_thread(flow.sync.get_run, handle.id)).status == "succeeded"
    finally:
        await asyncio.to_thread(flow.sync.close)


def test_many_threads_share_one_event_loop(sync_flow):
    @sync_flow.define_workflow("echo")
    async def echo(number: int, step: Step) -> int:
        return number

    before = threading.active_count()
    with ThreadPoolExecutor(20) as threads:
        loops = set(threads.map(lambda _: id(sync_flow.sync.call(_running_loop)), range(200)))
        assert len(loops) == 1
        assert threading.active_count() == before + 20 + 1
        with sync_flow.sync.worker(lease="30s"):
            ask = lambda n: sync_flow.sync.run_workflow(echo, n).result(timeout="1m")  # noqa: E731
            assert list(threads.map(ask, range(100))) == list(range(100))
    sync_flow.sync.close()
    assert threading.active_count() == before


async def _running_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_closing_ends_calls_that_wait_and_a_later_call_begins_anew(sync_flow):
    @sync_flow.define_workflow("never-worked-on")
    async def never(step: Step) -> None: ...

    handle = sync_flow.sync.run_workflow(never)
    waiting = threading.Event()

    async def wait_for_ever() -> None:
        waiting.set()
        await asyncio.Event().wait()

    with ThreadPoolExecutor(2) as threads:
        ends = [threads.submit(sync_flow.sync.call, wait_for_ever), threads.submit(handle.result)]
        assert waiting.wait(60)
        sync_flow.sync.close()
        for end in ends:
            # The second may have begun after the close; then it goes on to wait.
            if end is ends[1] and not end.done():
                sync_flow.sync.close()
            with pytest.raises(BackendUnavailable, match="closed while this call waited"):
                end.result(60)
    assert handle.get().status == "pending"


def test_an_interrupted_caller_leaves_no_call_behind(sync_flow):
    cancelled = threading.Event()

    async def wait_for_ever() -> None:
        try:
            os.kill(os.getpid(), 2)
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(KeyboardInterrupt):
        sync_flow.sync.call(wait_for_ever)
    assert cancelled.wait(60)
    assert sync_flow.sync.call(asyncio.sleep, 0, "next") == "next"


def test_a_forked_child_has_a_connection_of_its_own(valkey_url, namespace):
    """Like gunicorn with --preload: the parent has used the flow, and forks while another thread is using it."""
    flow = RedisFlow(valkey_url, namespace=namespace)

    @flow.define_workflow("echo")
    async def echo(text: str, step: Step) -> str:
        return text

    with flow.sync.worker(lease="30s"):
        first = flow.sync.run_workflow(echo, "parent")
        stop = threading.Event()

        def keep_asking() -> None:
            while not stop.is_set():
                assert flow.sync.get_run(first.id).id == first.id

        other = threading.Thread(target=keep_asking)
        other.start()
        try:
            children = [_fork(lambda: _child(flow, echo, first)) for _ in range(5)]
            for child in children:
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
                # What a child does or drops reaches nothing of the parent's.
                assert flow.sync.run_workflow(echo, "still here").result(timeout="1m") == "still here"
        finally:
            stop.set()
            other.join()
    flow.sync.close()


def _child(flow: RedisFlow, echo, first) -> None:
    assert first.result(timeout="1m") == "parent"
    assert flow.sync.run_workflow(echo, "child").result(timeout="1m") == "child"
    assert asyncio.run(flow.get_run(first.id)).id == first.id
    gc.collect()
    flow.sync.close()
    flow.sync.close()
    assert flow.sync.get_run(first.id).id == first.id


def _fork(work) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12: this process has threads, which is the point
        child = os.fork()
    if child:
        return child
    code = 1
    with contextlib.suppress(BaseException):
        work()
        code = 0
    os._exit(code)


FORKING = """
import os, sys
from redisflow import BackendUnavailable, RedisFlow, Step

flow = RedisFlow(sys.argv[1], namespace=sys.argv[2])

@flow.define_workflow("echo")
async def echo(text: str, step: Step) -> str:
    return text

async def numbers():
    yield 1
    yield 2

with flow.sync.worker(lease="30s"):
    flow.sync.run_workflow(echo, "parent").result("1m")
    items = flow.sync.iterate(numbers)
    next(items)
    child = os.fork()
    if child == 0:
        try:
            next(items)
        except BackendUnavailable as error:
            print(error, flush=True)
        print(flow.sync.run_workflow(echo, "child").result("1m"), flush=True)
        sys.exit(0)  # through the `with`, the exit handlers, and the end of the interpreter
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), next(items), flush=True)
    print(flow.sync.run_workflow(echo, "parent again").result("1m"), flush=True)
"""


def test_a_child_that_was_forked_inside_of_something_leaves_it_to_the_parent(valkey_url, namespace):
    ended = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING, valkey_url, namespace],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    first, *others = ended.stdout.splitlines()
    assert "make another one here" in first
    assert others == ["child", "0 2", "parent again"]
    assert ended.stderr == ""


@pytest.mark.parametrize("ending", ["flow.sync.get_run", "handle.result"])
def test_an_interpreter_that_ends_waits_for_no_background_thread(ending, valkey_url, namespace, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import threading, time
from redisflow import RedisFlow, Step

flow = RedisFlow({valkey_url!r}, namespace={namespace!r})

@flow.define_workflow("never-worked-on")
async def never(step: Step) -> None: ...

handle = flow.sync.run_workflow(never)
if {ending!r} == "handle.result":
    begun = threading.Event()
    def wait():
        begun.set()
        try:
            handle.result()
        except Exception as error:
            print(type(error).__name__, flush=True)
    threading.Thread(target=wait, daemon=True).start()
    begun.wait()
print(flow.sync.get_run(handle.id).status, flush=True)
"""
    )
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-X", "dev", str(script)], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.startswith("pending\n")
    assert ended.stderr == ""
    assert time.monotonic() - began < 30


def test_a_flow_lets_go_of_event_loops_that_ended_without_closing_it(valkey_url, namespace):
    flow = RedisFlow(valkey_url, namespace=namespace)

    async def use() -> weakref.ref[asyncio.AbstractEventLoop]:
        await flow.open()
        return weakref.ref(asyncio.get_running_loop())

    async def use_and_close() -> None:
        async with flow:
            pass

    ended = asyncio.run(use())
    asyncio.run(use_and_close())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # nobody closed the first one, and Python says so
        gc.collect()
    assert ended() is None
