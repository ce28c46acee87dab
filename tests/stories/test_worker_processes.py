"""Worker processes: how they stop, and what becomes of their runs when they are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from redisflow import RedisFlow, WorkflowFailed
from tests.stories import process_flow
from tests.stories.world import adopt, eventually

ROOT = Path(__file__).resolve().parents[2]
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where the bodies of the worker processes write what they do."""
    path = tmp_path / "ledger.txt"
    path.touch()
    monkeypatch.setenv("STORY_LEDGER", str(path))
    return path


@pytest.fixture
def start_worker(valkey_url: str, namespace: str, ledger: Path, tmp_path: Path) -> Iterator[Start]:
    """Return what starts a worker process, as one would by hand."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: str, url: str = valkey_url) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "redisflow", "worker", "tests/stories/process_flow.py:flow", *options]
        with (tmp_path / f"worker-{len(started)}.log").open("wb") as log:
            environment = {**os.environ, "REDISFLOW_URL": url, "STORY_NAMESPACE": namespace}
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.terminate()
    for number, process in enumerate(started):
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        sys.stdout.write((tmp_path / f"worker-{number}.log").read_text())


async def lines(ledger: Path, wanted: list[str], within: float = 10.0) -> None:
    """Wait until the ledger holds exactly these lines."""

    async def same() -> bool:
        return ledger.read_text().split("\n")[:-1] == wanted  # noqa: ASYNC240  # a few bytes

    await eventually(same, within=within)


async def ended(process: subprocess.Popen[bytes], within: float) -> int:
    """Wait for a process to end, and return its exit code."""

    async def exit_code() -> list[int]:
        code = process.poll()
        return [] if code is None else [code]

    return (await eventually(exit_code, within=within))[0]


def open_gate(ledger: Path) -> None:
    ledger.with_suffix(".gate").touch()


async def test_sigterm_lets_a_worker_finish_what_it_holds(valkey_flow: RedisFlow, start_worker: Start, ledger: Path):
    holding = adopt(valkey_flow, process_flow.holding)
    worker = start_worker("--grace", "20s")
    handle = await holding.run()
    await lines(ledger, ["charged", "hold"])
    worker.send_signal(signal.SIGTERM)
    open_gate(ledger)
    assert await ended(worker, within=5) == 0
    assert await handle.result(timeout="1s") == (worker.pid, worker.pid)
    assert (await handle.get()).claims == 1


async def test_when_the_grace_period_is_over_a_worker_hands_its_runs_back(valkey_flow, start_worker, ledger):
    holding = adopt(valkey_flow, process_flow.holding)
    first = start_worker("--grace", "300ms", "--lease", "1m")
    handle = await holding.run()
    await lines(ledger, ["charged", "hold"])
    first.send_signal(signal.SIGINT)
    assert await ended(first, within=5) == 0
    assert (await handle.get()).status == "pending"
    open_gate(ledger)
    second = start_worker("--lease", "1m")
    assert await handle.result(timeout="10s") == (first.pid, second.pid), "long before the lease is over"
    assert ledger.read_text().split() == ["charged", "hold", "hold"]


async def test_a_second_signal_hands_the_runs_back_now(valkey_flow, start_worker, ledger):
    holding = adopt(valkey_flow, process_flow.holding)
    worker = start_worker("--grace", "1h", "--lease", "1m")
    handle = await holding.run()
    await lines(ledger, ["charged", "hold"])
    worker.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(0.3)
    worker.send_signal(signal.SIGTERM)
    assert await ended(worker, within=5) == 0
    run = await handle.get()
    assert (run.status, run.crashes) == ("pending", 0)


async def test_another_worker_goes_on_after_a_kill_within_one_and_a_half_leases(valkey_flow, start_worker, ledger):
    holding = adopt(valkey_flow, process_flow.holding)
    killed = start_worker("--lease", "1s")
    handle = await holding.run()
    await lines(ledger, ["charged", "hold"])
    async with valkey_flow.new_worker(lease="1s"):
        killed.kill()
        killed_s = time.monotonic()
        await lines(ledger, ["charged", "hold", "hold"], within=5)
        # 1.5 leases, and what a busy test machine takes to look.
        assert time.monotonic() - killed_s < 1.5 + 0.3
        open_gate(ledger)
        assert await handle.result(timeout="5s") == (killed.pid, os.getpid()), "the charge was not made again"
    run = await handle.get()
    assert (run.status, run.claims) == ("succeeded", 2)


async def test_several_processes_share_one_redis(valkey_flow, start_worker, ledger):
    working = adopt(valkey_flow, process_flow.working)
    start_worker("--concurrency", "5")
    start_worker("--concurrency", "5")
    handles = await working.run_many(range(60))
    assert len({await handle.result(timeout="15s") for handle in handles}) >= 1
    more = await working.run_many(range(60, 120))
    pids = {await handle.result(timeout="15s") for handle in more}
    assert len(pids) == 2
    assert sorted(ledger.read_text().splitlines()) == sorted(f"work {number}" for number in range(120))


async def test_one_command_starts_several_processes_replaces_the_dead_and_stops_all(valkey_flow, start_worker, ledger):
    working = adopt(valkey_flow, process_flow.working)
    supervisor = start_worker("--processes", "2", "--concurrency", "3", "--lease", "1s")
    pids: set[int] = set()

    async def seen(wanted: int) -> bool:
        pids.update([await handle.result(timeout="15s") for handle in await working.run_many(range(12))])
        return len(pids) >= wanted

    await eventually(lambda: seen(2), within=10)
    assert supervisor.pid not in pids
    os.kill(min(pids), signal.SIGKILL)
    await eventually(lambda: seen(3), within=10)
    supervisor.send_signal(signal.SIGTERM)
    assert await ended(supervisor, within=10) == 0
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_run_that_kills_its_workers_is_poisoned_and_the_fleet_lives(valkey_flow, start_worker, ledger):
    crashing, working = adopt(valkey_flow, process_flow.crashing), adopt(valkey_flow, process_flow.working)
    start_worker("--processes", "2", "--lease", "500ms")
    handle = await crashing.run()
    with pytest.raises(WorkflowFailed, match="crashed several times in a row"):
        await handle.result(timeout="20s")
    assert ledger.read_text().split() == ["crash"] * 3
    assert isinstance(await (await working.run(1)).result(timeout="10s"), int)


async def test_a_worker_command_that_cannot_work_says_why(start_worker, tmp_path):
    worker = start_worker("--lease", "never")
    assert await ended(worker, within=10) == 1
    assert "never" in (tmp_path / "worker-0.log").read_text()
