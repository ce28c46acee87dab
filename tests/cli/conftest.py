"""A shop with a worker, and the command line as a user types it."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from redisflow import RedisFlow, RetryPolicy, Step, StepOptions
from redisflow.cli.init import read_project
from redisflow.cli.main import main
from tests.cli.running_dev import Dev


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(autouse=True, scope="session")
def hangs_up() -> Iterator[None]:
    """Commands are started as in a terminal that may be closed, whatever these tests were started by."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


Cli: TypeAlias = Callable[..., Awaitable[Said]]


@pytest.fixture
async def shop(valkey_url: str, namespace: str) -> AsyncIterator[RedisFlow]:
    flow = RedisFlow(valkey_url, namespace=namespace)

    async def charge(total: int) -> int:
        if total > 100:
            msg = "declined\x1b[31m\x9b31m"
            raise ValueError(msg)
        return total

    @flow.define_workflow("order")
    async def order(total: int, step: Step) -> dict[str, int]:
        return {"charged": await step.run(StepOptions("charge", retry=RetryPolicy(maximum_attempts=1)), charge, total)}

    @flow.define_workflow("approval")
    async def approval(step: Step) -> Any:
        return await step.wait_for_signal("approved")

    async with flow:
        yield flow


@pytest.fixture
async def working(shop: RedisFlow) -> AsyncIterator[RedisFlow]:
    worker = asyncio.create_task(shop.new_worker(grace=0).run())
    yield shop
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


@pytest.fixture
def cli(
    valkey_url: str, namespace: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> Cli:
    monkeypatch.setenv("REDISFLOW_URL", valkey_url)
    monkeypatch.setenv("REDISFLOW_NAMESPACE", namespace)
    monkeypatch.chdir(tmp_path)

    async def run(*words: str) -> Said:
        capsys.readouterr()
        code = await asyncio.to_thread(main, words)
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return run


@pytest.fixture
def project(tmp_path: Path, valkey_url: str, one_server) -> Path:
    """A new project, with sleeps that a test can wait for."""
    folder = tmp_path / "shop"
    for path, content in read_project("order").items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


@pytest.fixture
def dev(project: Path) -> Iterator[Callable[..., Dev]]:
    started: list[Dev] = []

    def start(*words: str, folder: Path = project, **options: Any) -> Dev:
        made = Dev(folder, *words, **options)
        started.append(made)
        return made

    yield start
    for each in reversed(started):
        each.close()
