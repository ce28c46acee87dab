"""`pytest`: without a server, and with a real one whose clock the test moves."""

import pytest

from redisflow import RedisFlow
from redisflow.testing import run_inline
from workflows import greet

pytestmark = pytest.mark.anyio


async def test_a_greeting_without_a_server() -> None:
    run = await run_inline(greet, "ada", steps={"look up": "Ada Lovelace"})
    assert run.result() == "Hello, Ada Lovelace!"


@pytest.mark.usefixtures("rf", "worker", "clock")
async def test_a_greeting_on_a_server() -> None:
    handle = await greet.run("ada")
    assert await handle.result(timeout="30s") == "Hello, Ada!"


async def test_runs_of_other_tests_are_not_seen(rf: RedisFlow) -> None:
    assert [run async for run in rf.list_runs()] == []
