"""`redisflow worker --reload`: a real worker process, and files that change below it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from redisflow import RedisFlow, WorkflowHandle, define_workflow_spec
from redisflow.cli.main import main
from tests.cli.running_dev import processes_in
from tests.stories.world import eventually, until

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import asyncio
from pathlib import Path

from redisflow import RedisFlow, Step

flow = RedisFlow(namespace={namespace!r})


@flow.define_workflow("answer")
async def answer(step: Step) -> int:
    return {answer}


async def wait_for_the_gate() -> None:
    while not Path("gate").exists():
        await asyncio.sleep(0.01)


@flow.define_workflow("gated")
async def gated(step: Step) -> None:
    await step.run("wait", wait_for_the_gate)


@flow.define_workflow("busy")
async def busy(seconds: float, step: Step) -> None:
    await step.run("sleep", asyncio.sleep, seconds)
"""
ANSWER = define_workflow_spec("answer", output=int)
GATED = define_workflow_spec("gated")
BUSY = define_workflow_spec("busy", input=float)
GRACE = "may go on for"
"""What a worker says when it stops and holds runs."""


class Reloading:
    """A `redisflow worker --reload` as one types it into a terminal, where Ctrl-C is for all processes of a command."""

    def __init__(self, folder: Path, url: str, *options: str) -> None:
        self.log = folder / "log.txt"
        self.app = folder / "app"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "redisflow", "worker", "code_here.py:flow", "--reload", *options],
                cwd=self.app,
                env={**os.environ, "REDISFLOW_URL": url, "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def press_ctrl_c(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)

    async def says(self, words: str) -> None:
        async def is_said() -> bool:
            return words in self.log.read_text()

        await eventually(is_said)

    def touch_code(self) -> None:
        code = self.app / "code_here.py"
        code.write_text(code.read_text() + "\n")

    def open_gate(self) -> None:
        (self.app / "gate").touch()

    async def ended(self) -> int:
        return await asyncio.to_thread(self.process.wait, 60)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.terminate()
            self.process.wait(30)
        sys.stdout.write(self.log.read_text())


Start = Callable[..., Reloading]


@pytest.fixture
def start(valkey_url: str, namespace: str, tmp_path: Path) -> Iterator[Start]:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "code_here.py").write_text(CODE.format(namespace=namespace, answer=1))
    started: list[Reloading] = []

    def start(*options: str) -> Reloading:
        started.append(Reloading(tmp_path, valkey_url, *options))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
async def flow(valkey_url: str, namespace: str) -> AsyncIterator[RedisFlow]:
    async with RedisFlow(valkey_url, namespace=namespace) as made:
        yield made


async def is_held(flow: RedisFlow, handle: WorkflowHandle[None]) -> None:
    await until(flow, handle.id, lambda run: run.status == "running")


async def test_a_worker_starts_again_with_the_code_as_it_is_then(start: Start, flow: RedisFlow):
    reloading = start("--grace", "1s")
    code = reloading.app / "code_here.py"
    assert await (await flow.run_workflow(ANSWER)).result(timeout=30) == 1
    (before,) = await eventually(flow.workers)
    code.write_text("this is no Python")
    await reloading.says("SyntaxError")
    await reloading.says("the worker ended with exit code 1, and starts again at the next change")
    run = await flow.run_workflow(ANSWER)
    assert await flow.workers() == []
    assert (await run.get()).status == "pending"
    code.write_text(CODE.format(namespace=flow.namespace, answer=2))
    await until(flow, run.id, lambda run: run.is_finished)
    assert await run.result(timeout=30) == 2
    (after,) = await eventually(flow.workers)
    assert before.name != after.name
    reloading.process.send_signal(signal.SIGTERM)
    assert await reloading.ended() == 0
    assert await flow.workers() == []
    assert "code_here.py changed: the worker starts again" in reloading.log.read_text()


async def test_at_sigterm_runs_have_all_of_their_grace(start: Start, flow: RedisFlow):
    reloading = start("--grace", "60s")
    handle = await flow.run_workflow(BUSY, 6.5)
    await is_held(flow, handle)
    reloading.process.send_signal(signal.SIGTERM)
    assert await reloading.ended() == 0
    run = await handle.get()
    assert (run.status, run.claims) == ("succeeded", 1)


@pytest.mark.parametrize("options", [(), ("--processes", "2")], ids=["one", "two"])
async def test_ctrl_c_is_told_once(start: Start, flow: RedisFlow, options: tuple[str, ...]):
    reloading = start("--grace", "60s", *options)
    handle = await flow.run_workflow(BUSY, 2.0)
    await is_held(flow, handle)
    reloading.press_ctrl_c()
    assert await reloading.ended() == 0
    run = await handle.get()
    assert (run.status, run.claims) == ("succeeded", 1)


@pytest.mark.parametrize("options", [(), ("--processes", "2")], ids=["one", "two"])
async def test_a_second_signal_hands_runs_back_at_once(start: Start, flow: RedisFlow, options: tuple[str, ...]):
    reloading = start("--grace", "1h", *options)
    handle = await flow.run_workflow(GATED)
    await is_held(flow, handle)
    reloading.press_ctrl_c()
    await reloading.says(GRACE)
    assert reloading.process.poll() is None
    reloading.press_ctrl_c()
    assert await reloading.ended() == 0
    assert (await handle.get()).status == "pending"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_while_the_old_worker_stops_ends_it_too(start: Start, flow: RedisFlow, number: signal.Signals):
    reloading = start("--grace", "60s")
    handle = await flow.run_workflow(GATED)
    await is_held(flow, handle)
    reloading.touch_code()
    await reloading.says(GRACE)
    reloading.process.send_signal(number)
    reloading.open_gate()
    assert await reloading.ended() == 0
    assert (await handle.get()).status == "succeeded"
    said = reloading.log.read_text()
    assert "Traceback" not in said
    assert said.count(" started: queues") == 1


@pytest.mark.parametrize("options", [(), ("--processes", "2")], ids=["one", "two"])
async def test_when_it_is_killed_its_worker_ends(start: Start, flow: RedisFlow, options: tuple[str, ...]):
    reloading = start("--grace", "0s", *options)
    handle = await flow.run_workflow(GATED)
    await is_held(flow, handle)
    reloading.process.kill()
    await until(flow, handle.id, lambda run: run.status == "pending")

    async def none_is_left() -> bool:
        return not processes_in(reloading.app)

    await eventually(none_is_left)
    assert await flow.workers() == []


async def test_a_burst_is_over_until_the_next_change(start: Start, flow: RedisFlow):
    reloading = start("--burst")
    await reloading.says("the worker ended, and starts again at the next change")
    handle = await flow.run_workflow(ANSWER)
    reloading.touch_code()
    await until(flow, handle.id, lambda run: run.is_finished)


def test_what_cannot_be_meant_is_told_in_a_line(capfd: pytest.CaptureFixture[str]):
    assert main(["worker", "code_here.py:flow", "--reload", "--grace", "soon"]) == 1
    said = capfd.readouterr().err
    assert (said.count("\n"), said.startswith("redisflow: ")) == (1, True)


def test_a_folder_that_is_not_there_is_told_in_a_line(capfd: pytest.CaptureFixture[str], tmp_path: Path):
    missing = str(tmp_path / "missing")
    assert main(["worker", "code_here.py:flow", "--reload", "--path", missing]) == 2
    said = capfd.readouterr().err
    assert said == f"redisflow: --path {missing}: there is no such folder (--reload watches the folders of --path)\n"
