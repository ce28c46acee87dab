"""What nobody reads in a log: passwords, and what users give to their workflows, whatever happens to it.

Each story carries one word that is in its payloads alone. All loggers are at DEBUG, asyncio's own included.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import subprocess
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
import redis
from pydantic import BaseModel, Field

from redisflow import (
    BackendError,
    InvalidName,
    NonRetryableError,
    RedisFlow,
    RetryPolicy,
    Step,
    StepError,
    StepOptions,
    WorkflowFailed,
    acl_rule,
    define_workflow_spec,
)
from redisflow.backend.connect import mask_url
from redisflow.backend.redis_backend import RedisBackend
from tests.acl import user_with
from tests.keyspace import raw_calls
from tests.stories.world import eventually, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ROOT = Path(__file__).resolve().parents[2]
QUICK = RetryPolicy(initial_interval="5ms", maximum_attempts=2, jitter=0)
PASSWORD = "hunter2-" + secrets.token_hex(6)

# -- payloads -------------------------------------------------------------------------------------------------------


class Card(BaseModel):
    number: str


class Strict(BaseModel):
    number: str = Field(max_length=3)


class Canary:
    """A word that must not be found, and everything that was logged."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.word = "canary-" + secrets.token_hex(8)
        self._log = caplog

    def look(self) -> None:
        for record in self._log.records:
            shown = logging.Formatter("%(levelname)s %(name)s %(message)s").format(record)
            said = f"{shown}\n{vars(record)!r}"
            assert self.word not in said, said


@pytest.fixture
def canary(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[Canary]:
    caplog.set_level(logging.DEBUG)
    made = Canary(caplog)
    yield made
    made.look()
    out, err = capfd.readouterr()
    assert made.word not in out + err


@contextlib.asynccontextmanager
async def working(flow: RedisFlow) -> AsyncIterator[None]:
    task = asyncio.create_task(flow.new_worker().run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def flow(server_url: str, namespace: str) -> AsyncIterator[RedisFlow]:
    async with RedisFlow(server_url, namespace=namespace) as made:
        yield made


async def test_of_a_run_that_succeeds(flow: RedisFlow, canary: Canary):
    @flow.define_workflow("child")
    async def child(card: Card, step: Step) -> str:
        return card.number

    @flow.define_workflow("buy")
    async def buy(card: Card, step: Step) -> str:
        await step.run("charge", lambda: card.number)
        step.set_state("card", card.number)
        step.emit(card.number)
        await step.run_workflow(child, card)
        told = await step.wait_for_signal("told", str)
        return f"{told} {card.number}"

    async with working(flow):
        handle = await buy.run(Card(number=canary.word), tags={"card": "no payload"})
        await handle.signal("told", canary.word)
        assert canary.word in await handle.result(timeout="60s")
        run = await flow.get_run(handle.id)
    # Whoever logs the values that they hold does not log what is in them.
    for shown in (run, handle, *run.steps):
        assert canary.word not in f"{shown!r} {shown}"


async def test_of_a_run_that_fails(flow: RedisFlow, canary: Canary):
    @flow.define_workflow("buy", retry=RetryPolicy(maximum_attempts=2, initial_interval="5ms", jitter=0))
    async def buy(card: Card, step: Step) -> None:
        def charge() -> None:
            raise ValueError(f"no such card: {card.number}")

        step.on_failure(StepOptions("refund", retry=QUICK), charge)
        try:
            await step.run(StepOptions("charge", retry=QUICK), charge)
        except StepError as error:
            raise NonRetryableError(card.number) from error

    async with working(flow):
        handle = await buy.run(Card(number=canary.word))
        with pytest.raises(WorkflowFailed, match=canary.word):  # who asks for it is given it
            await handle.result(timeout="60s")


async def test_of_an_input_that_is_refused(flow: RedisFlow, canary: Canary):
    @flow.define_workflow("buy")
    async def buy(card: Strict, step: Step) -> None:
        pass

    with pytest.raises(ValueError, match="at most 3"):
        await buy.run({"number": canary.word})  # type: ignore[arg-type]  # it is to be refused


async def test_of_a_stored_input_and_a_result_that_no_longer_fit(
    flow: RedisFlow, server_url: str, namespace: str, canary: Canary
):
    @flow.define_workflow("buy")
    async def buy(card: Card, step: Step) -> None:
        pass

    handle = await buy.run(Card(number=canary.word))
    async with RedisFlow(server_url, namespace=namespace) as newer:

        @newer.define_workflow("buy")
        async def stricter(card: Strict, step: Step) -> None:
            pass

        async with working(newer):
            await until(newer, handle.id, lambda run: run.status == "failed" or run.waiting_for == "suspended")


async def test_of_a_step_whose_value_cannot_be_recorded(flow: RedisFlow, canary: Canary):
    class Unknown:
        def __repr__(self) -> str:
            return canary.word

    @flow.define_workflow("buy")
    async def buy(card: Card, step: Step) -> None:
        await step.run(StepOptions("charge", retry=QUICK), lambda: {card.number: Unknown()})

    async with working(flow):
        handle = await buy.run(Card(number=canary.word))
        with pytest.raises(WorkflowFailed):
            await handle.result(timeout="60s")


async def test_of_code_that_no_longer_matches_its_record(
    flow: RedisFlow, server_url: str, namespace: str, canary: Canary
):
    @flow.define_workflow("buy")
    async def buy(card: Card, step: Step) -> None:
        await step.run("charge", lambda: card.number)
        await step.wait_for_signal("go", str)

    async with working(flow):
        handle = await buy.run(Card(number=canary.word))
        await until(flow, handle.id, lambda run: run.waiting_for == "signal")
    async with RedisFlow(server_url, namespace=namespace) as newer:

        @newer.define_workflow("buy")
        async def changed(card: Card, step: Step) -> None:
            await step.sleep("charge", "1h")

        async with working(newer):
            await handle.signal("go", canary.word)
            await until(newer, handle.id, lambda run: run.waiting_for == "suspended")


async def test_of_bytes_that_cannot_be_read(flow: RedisFlow, server_url: str, canary: Canary):
    @flow.define_workflow("buy")
    async def buy(card: Card, step: Step) -> None:
        await step.wait_for_signal("go", str)

    handle = await buy.run(Card(number=canary.word))
    damaged = b"\xc1" + canary.word.encode()
    raw, close = raw_calls(server_url)
    raw("HSET", f"rf:{{{flow.namespace}:0}}:run:{handle.id}", "i", damaged)
    close()
    async with working(flow):
        await until_status(flow, handle.id)


async def until_status(flow: RedisFlow, run_id: str) -> None:
    """The run has been looked at; its snapshot may be impossible to read."""
    backend = await flow.open()
    async with asyncio.timeout(60):
        while True:
            fields = await backend.read_run(run_id)
            if fields is None or fields[b"s"] not in (b"pending", b"running"):
                return
            await asyncio.sleep(0.01)


_WORKER = """
import asyncio, logging, os, sys
from redisflow import RedisFlow, RetryPolicy, Step, StepOptions
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
flow = RedisFlow(os.environ["REDISFLOW_URL"], namespace=os.environ["STORY_NAMESPACE"])

@flow.define_workflow("buy")
async def buy(number: str, step: Step) -> str:
    def charge() -> str:
        raise ValueError(number)
    return await step.run(StepOptions("charge", retry=RetryPolicy(maximum_attempts=1)), charge)

@flow.define_workflow("poison")
async def poison(number: str, step: Step) -> str:
    os._exit(3)
"""


async def test_of_worker_processes_and_runs_that_kill_them(
    valkey_url: str, namespace: str, tmp_path: Path, canary: Canary
):
    """Nor what they are started with: who lists processes sees no password either."""
    (tmp_path / "shop.py").write_text(_WORKER)
    with user_with(valkey_url, acl_rule(namespace)) as url:
        password = url.split(":")[2].partition("@")[0]
        environment = {**os.environ, "REDISFLOW_URL": url, "STORY_NAMESPACE": namespace, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "redisflow", "worker", f"{tmp_path}/shop.py:flow", "--processes", "2"]
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(  # noqa: ASYNC220  # it takes no time worth waiting for elsewhere
                command, cwd=ROOT, env=environment, stdout=log, stderr=log
            )
        try:
            async with RedisFlow(url, namespace=namespace) as flow:
                buy = flow.declare_workflow(define_workflow_spec("buy", input=str, output=str))
                poison = flow.declare_workflow(define_workflow_spec("poison", input=str, output=str))
                failing = await buy.run(canary.word)
                with pytest.raises(WorkflowFailed, match=canary.word):
                    await failing.result(timeout="60s")
                of = str(process.pid)
                listing = ["ps", "-ww", "-o", "args=", "-p", of, "--ppid", of]
                commands = (await asyncio.to_thread(subprocess.check_output, listing)).decode()
                assert commands.count(f"{tmp_path}/shop.py:flow") >= 2
                assert password not in commands
                killing = await poison.run(canary.word)
                await until(flow, killing.id, lambda run: run.status == "running")
                await eventually(lambda: asyncio.to_thread(lambda: b"replaced" in (tmp_path / "log").read_bytes()))
        finally:
            process.terminate()
            process.terminate()
            await asyncio.to_thread(process.wait, 60)
    told = (tmp_path / "log").read_text()
    assert "run.failed" in told
    assert canary.word not in told
    assert password not in told


# -- passwords ------------------------------------------------------------------------------------------------------

FORMS = (
    "redis://{user}:{password}@{host}/0",
    "redis://:{password}@{host}/0",
    "rediss://{user}:{password}@{host}/0",
    "redis+sentinel://{user}:{password}@{host}/shop/0?sentinel_username=watch&sentinel_password={password}",
    "rediss+sentinel://{user}:{password}@{host}/shop/0?sentinel_password={password}",
    "redis+cluster://{user}:{password}@{host}",
    "rediss+cluster://{user}:{password}@{host}",
    "redis://{user}:a@{password}@{host}/0",
    "unix://{user}:{password}@/nowhere/redis.sock?db=1",
)
BAD = (
    "redis://{user}:{password}@{host}/0?password={password}",
    "redis://{user}:{password}@{host}/zero",
    "redis://{user}:{password}@{host}:port/0",
    "http://{user}:{password}@{host}/0",
    "redis://{user}:{password}@[::1/0",
    "rediss://{user}:{password}@{host}/0?ssl_cert_reqs=none",
    "{user}:{password}@{host}",
    "//{user}:{password}@{host}",
    "redis:{user}:{password}@{host}/0",
    "redis:/{user}:{password}@{host}/0",
    "redis://{user}:a/{password}@{host}/0",
    "redis://{user}:a?{password}@{host}/0",
    "redis://{user}:a#{password}@{host}/0",
    "redis://{user}:{password}/{password}@{host}/0",
    "redis://{user}:{password}?{password}@{host}/0",
    "redis://{user}:{password}#{password}@{host}/0",
    "unix://{user}:{password}/{password}@/redis.sock",
    "redis://{user}:{password}\u2100@{host}/0",  # not allowed in a host, and told with all of it by urllib
)


def filled(form: str) -> str:
    return form.format(user="shop", password=PASSWORD, host="127.0.0.1:1")


@pytest.mark.parametrize("form", FORMS)
async def test_no_password_is_told_where_nobody_answers(form: str, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        flow = RedisFlow(filled(form), call_timeout="300ms")
        shown = f"{flow!r} {flow.location!r} {flow.location} {RedisBackend(filled(form))!r}"
        with pytest.raises(BackendError) as failed:
            await flow.open()
        await flow.close()
    assert PASSWORD not in shown
    assert PASSWORD not in "".join(traceback.format_exception(failed.value))
    assert PASSWORD not in caplog.text
    assert PASSWORD not in "".join(str(warning.message) for warning in warned)


@pytest.mark.parametrize("form", BAD)
def test_no_password_is_told_of_a_url_that_means_nothing(form: str):
    with pytest.raises(InvalidName) as refused:
        RedisFlow(filled(form))
    assert PASSWORD not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("form", [*FORMS, *BAD])
def test_a_masked_url_has_no_password_and_still_says_where(form: str):
    masked = mask_url(filled(form))
    assert PASSWORD not in masked
    assert mask_url(masked) == masked


@pytest.mark.parametrize("password", ["p@ss:w/rd?#[]", "päss wörd", "%41%zz", "***", "a@b@c", "x" * 1000])
async def test_passwords_of_any_kind_work_and_are_not_told(
    valkey_url: str, namespace: str, password: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    with redis.Redis.from_url(valkey_url) as admin:
        name = f"user-{secrets.token_hex(4)}"
        admin.execute_command("ACL", "SETUSER", name, "on", f">{password}", *acl_rule(namespace).split())
        try:
            url = valkey_url.replace("redis://", f"redis://{name}:{quote(password, safe='')}@")
            async with RedisFlow(url, namespace=namespace) as flow:
                assert quote(password, safe="") not in repr(flow) or password == "***"
            wrong = valkey_url.replace("redis://", f"redis://{name}:{PASSWORD}@")
            backend = RedisBackend(wrong, namespace=namespace)
            with pytest.raises(BackendError, match="WRONGPASS") as refused:
                await backend.open()
            assert PASSWORD not in "".join(traceback.format_exception(refused.value)) + caplog.text
        finally:
            admin.execute_command("ACL", "DELUSER", name)
