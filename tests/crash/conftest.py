"""What the traps start with: a flow on a real server, a crew of workers for it, and bare commands past both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from redisflow import RedisFlow
from redisflow.backend.scripts import load_scripts
from tests.crash.audit import audit, leftovers
from tests.crash.harness import Crew
from tests.crash.processes import Processes
from tests.keyspace import Raw, raw_calls


@pytest.fixture
async def flow(valkey_url: str, namespace: str) -> AsyncIterator[RedisFlow]:
    """Return the client's side."""
    async with RedisFlow(valkey_url, namespace=namespace) as made:
        yield made


@pytest.fixture
def raw(valkey_url: str) -> Iterator[Raw]:
    """Return bare commands. The server knows every script: what a fault hits is then the call, not the telling."""
    call, close = raw_calls(valkey_url)
    for script in load_scripts():
        call("SCRIPT", "LOAD", script.text)
    yield call
    close()


@pytest.fixture
async def crew(flow: RedisFlow, valkey_url: str, namespace: str, raw: Raw) -> AsyncIterator[Crew]:
    """Return workers, each as if it were a process; what they leave behind is audited."""
    made = Crew(valkey_url, namespace, raw)
    try:
        yield made
    finally:
        await made.close()
    assert not made.journal.problems
    assert not audit(raw, namespace)


@pytest.fixture
def processes(valkey_url: str, namespace: str, tmp_path: Path, raw: Raw) -> Iterator[Processes]:
    """Return none yet; those that a test hires end with it, and what they leave behind is audited."""
    made = Processes(valkey_url, namespace, tmp_path)
    try:
        yield made
    finally:
        made.end()
    assert not audit(raw, namespace)
    assert not leftovers(raw, namespace)
