"""`redisflow worker --reload`: a real worker process, and files that change below it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from redisflow import RedisFlow, define_workflow_spec
from redisflow.cli.main import main
from tests.stories.world import eventually, until

ROOT = Path(__file__).resolve().parents[2]
CODE = """
from redisflow import RedisFlow, Step

flow = RedisFlow(namespace={namespace!r})


@flow.define_workflow("answer")
async def answer(step: Step) -> int:
    return {answer}
"""
ANSWER = define_workflow_spec("answer", output=int)


@pytest.fixture
def reloading(valkey_url: str, namespace: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of `code.py`, as one would start it."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "code_here.py").write_text(CODE.format(namespace=namespace, answer=1))
    with (tmp_path / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "redisflow", "worker", "code_here.py:flow", "--reload", "--grace", "1s"],
            cwd=tmp_path / "app",
            env={**os.environ, "REDISFLOW_URL": valkey_url, "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
        )
    yield process
    if process.poll() is None:
        process.terminate()
        process.wait(20)
    sys.stdout.write((tmp_path / "log.txt").read_text())


async def test_a_worker_starts_again_with_the_code_as_it_is_then(
    reloading: subprocess.Popen[bytes], valkey_url: str, namespace: str, tmp_path: Path
):
    code = tmp_path / "app" / "code_here.py"
    async with RedisFlow(valkey_url, namespace=namespace) as flow:
        assert await (await flow.run_workflow(ANSWER)).result(timeout=30) == 1
        (before,) = await eventually(flow.workers)
        code.write_text("this is no Python")
        await eventually(lambda: _is_said(tmp_path, "SyntaxError"))
        run = await flow.run_workflow(ANSWER)
        assert await flow.workers() == []
        assert (await run.get()).status == "pending"
        code.write_text(CODE.format(namespace=namespace, answer=2))
        await until(flow, run.id, lambda run: run.is_finished)
        assert await run.result(timeout=30) == 2
        (after,) = await eventually(flow.workers)
        assert before.name != after.name
        reloading.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(reloading.wait, 20) == 0
        assert await flow.workers() == []
    assert "code_here.py changed: the worker starts again" in (tmp_path / "log.txt").read_text()


async def _is_said(tmp_path: Path, words: str) -> bool:
    return words in (tmp_path / "log.txt").read_text()


def test_what_cannot_be_meant_is_told_in_a_line(capfd: pytest.CaptureFixture[str]):
    assert main(["worker", "code_here.py:flow", "--reload", "--grace", "soon"]) == 1
    said = capfd.readouterr().err
    assert (said.count("\n"), said.startswith("redisflow: ")) == (1, True)
