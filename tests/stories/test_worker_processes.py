"""Worker processes: how they stop, and what becomes of their runs when they are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from redisflow import RedisFlow, WorkflowFailed
from tests.stories import process_flow
from tests.stories.world import adopt, at_best, eventually

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


async def lines(ledger: Path, wanted: list[str]) -> None:
    """Wait until the ledger holds exactly these lines."""

    async def same() -> bool:
        return ledger.read_text().split("\n")[:-1] == wanted  # noqa: ASYNC240  # a few bytes

    await eventually(same)


async def ended(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process to end, and return its exit code."""

    async def exit_code() -> list[int]:
        code = process.poll()
        return [] if code is None else [code]

    return (await eventually(exit_code))[0]


async def logged(tmp_path: Path, text: str) -> None:
    """Wait until the first worker has said so."""

    async def said() -> bool:
        return text in (tmp_path / "worker-0.log").read_text()  # a few bytes

    await eventually(said)


def open_gate(ledger: Path) -> None:
    ledger.with_suffix(".gate").touch()


async def test_sigterm_lets_a_worker_finish_what_it_holds(valkey_flow: RedisFlow, start_worker: Start, ledger: Path):
    holding = adopt(valkey_flow, process_flow.holding)
    worker = start_worker("--grace", "20s")
    handle = await holding.run()
    await lines(ledger, ["charged", "hold"])
    worker.send_signal(signal.SIGTERM)
    open_gate(ledger)
    assert await ended(worker) == 0
    assert await handle.result(timeout="1m") == (worker.pid, worker.pid)
    assert (await handle.get()).claims == 1


async def test_when_the_grace_period_is_over_a_worker_hands_its_runs_back(valkey_flow, start_worker, ledger):
    holding = adopt(valkey_flow, process_flow.holding)
    first = start_worker("--grace", "300ms", "--lease", "1m")
    handle = await holding.run()
    await lines(ledger, ["charged", "hold"])
    first.send_signal(signal.SIGINT)
    assert await ended(first) == 0
    assert (await handle.get()).status == "pending"
    open_gate(ledger)
    second = start_worker("--lease", "1m")
    assert await handle.result(timeout="1m") == (first.pid, second.pid), "long before the lease is over"
    assert ledger.read_text().split() == ["charged", "hold", "hold"]


async def test_a_second_signal_hands_the_runs_back_now(valkey_flow, start_worker, ledger, tmp_path):
    holding = adopt(valkey_flow, process_flow.holding)
    worker = start_worker("--grace", "1h", "--lease", "1m")
    handle = await holding.run()
    await lines(ledger, ["charged", "hold"])
    worker.send_signal(signal.SIGTERM)

    await logged(tmp_path, "1 runs may go on for 3600 s")
    assert worker.poll() is None
    worker.send_signal(signal.SIGTERM)
    assert await ended(worker) == 0
    run = await handle.get()
    assert (run.status, run.crashes) == ("pending", 0)


async def test_another_worker_goes_on_after_a_kill_within_one_and_a_half_leases(valkey_flow, start_worker, ledger):
    holding = adopt(valkey_flow, process_flow.holding)

    async def recovery() -> timedelta:
        ledger.write_text("")  # a few bytes
        ledger.with_suffix(".gate").unlink(missing_ok=True)  # no bytes
        killed = start_worker("--lease", "1s")
        handle = await holding.run()
        await lines(ledger, ["charged", "hold"])
        async with valkey_flow.new_worker(lease="1s"):
            killed.kill()
            killed_s = time.monotonic()
            await lines(ledger, ["charged", "hold", "hold"])
            took = timedelta(seconds=time.monotonic() - killed_s)
            open_gate(ledger)
            assert await handle.result(timeout="1m") == (killed.pid, os.getpid()), "the charge was not made again"
        run = await handle.get()
        assert (run.status, run.claims) == ("succeeded", 2)
        return took

    # 1.5 leases, and what it takes to look.
    in_time = timedelta(seconds=1.5 + 0.3)
    assert await at_best(recovery, in_time) < in_time


async def test_several_processes_share_one_redis(valkey_flow, start_worker, ledger):
    working = adopt(valkey_flow, process_flow.working)
    start_worker("--concurrency", "5")
    start_worker("--concurrency", "5")
    numbers: list[int] = []
    pids: set[int] = set()

    async def both_have_worked() -> bool:
        more = range(len(numbers), len(numbers) + 60)
        numbers.extend(more)
        pids.update([await handle.result(timeout="1m") for handle in await working.run_many(more)])
        return len(pids) == 2

    await eventually(both_have_worked)
    assert sorted(ledger.read_text().splitlines()) == sorted(f"work {number}" for number in numbers)


async def test_one_command_starts_several_processes_replaces_the_dead_and_stops_all(valkey_flow, start_worker, ledger):
    working = adopt(valkey_flow, process_flow.working)
    supervisor = start_worker("--processes", "2", "--concurrency", "3", "--lease", "1s")
    pids: set[int] = set()

    async def seen(wanted: int) -> bool:
        pids.update([await handle.result(timeout="1m") for handle in await working.run_many(range(12))])
        return len(pids) >= wanted

    await eventually(lambda: seen(2))
    assert supervisor.pid not in pids
    os.kill(min(pids), signal.SIGKILL)
    await eventually(lambda: seen(3))
    supervisor.send_signal(signal.SIGTERM)
    assert await ended(supervisor) == 0
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_run_that_kills_its_workers_is_poisoned_and_the_fleet_lives(valkey_flow, start_worker, ledger):
    crashing, working = adopt(valkey_flow, process_flow.crashing), adopt(valkey_flow, process_flow.working)
    start_worker("--processes", "2", "--lease", "500ms")
    handle = await crashing.run()
    with pytest.raises(WorkflowFailed, match="crashed several times in a row"):
        await handle.result(timeout="1m")
    assert ledger.read_text().split() == ["crash"] * 3
    assert isinstance(await (await working.run(1)).result(timeout="1m"), int)


@pytest.mark.parametrize("options", [("--debug",), ("--debug", "--processes", "2")], ids=" ".join)
async def test_debug_refuses_side_effects_in_workflow_code(valkey_flow, start_worker, ledger, options):
    careless = adopt(valkey_flow, process_flow.careless)
    start_worker(*options)
    handle = await careless.run()
    with pytest.raises(WorkflowFailed, match=r"may not open a file for writing \(.*process_flow\.py:\d+ in note\)"):
        await handle.result(timeout="1m")
    assert ledger.read_text() == ""


async def test_without_debug_side_effects_in_workflow_code_are_up_to_its_author(valkey_flow, start_worker, ledger):
    careless = adopt(valkey_flow, process_flow.careless)
    start_worker()
    await (await careless.run()).result(timeout="1m")
    assert ledger.read_text() == "a file is written in workflow code\n"


async def test_a_worker_command_that_cannot_work_says_why(start_worker, tmp_path):
    worker = start_worker("--lease", "never")
    assert await ended(worker) == 1
    assert "never" in (tmp_path / "worker-0.log").read_text()


async def test_a_worker_that_is_told_to_drain_finishes_what_it_holds_claims_nothing_more_and_ends(
    valkey_flow: RedisFlow, start_worker: Start, ledger: Path, tmp_path: Path
):
    holding, working = adopt(valkey_flow, process_flow.holding), adopt(valkey_flow, process_flow.working)
    worker = start_worker("--grace", "20s", "--lease", "2s")
    handle = await holding.run()
    await lines(ledger, ["charged", "hold"])
    (about,) = await eventually(valkey_flow.workers)
    assert await valkey_flow.drain_worker(about.name)
    assert (await valkey_flow.workers())[0].is_draining
    await logged(tmp_path, "1 runs may go on for 20 s")
    later = await working.run(1)
    open_gate(ledger)
    assert await ended(worker) == 0
    assert await handle.result(timeout="1m") == (worker.pid, worker.pid)
    assert (await handle.get()).claims == 1
    assert await valkey_flow.workers() == []
    assert (await later.get()).status == "pending"
    assert not await valkey_flow.drain_worker(about.name)


async def test_a_signal_after_it_was_told_to_drain_is_the_first_one(
    valkey_flow: RedisFlow, start_worker: Start, ledger: Path, tmp_path: Path
):
    """A rollout drains its workers, and then its orchestrator sends SIGTERM: their runs go on for the grace."""
    holding = adopt(valkey_flow, process_flow.holding)
    worker = start_worker("--grace", "20s", "--lease", "2s")
    handle = await holding.run()
    await lines(ledger, ["charged", "hold"])
    (about,) = await eventually(valkey_flow.workers)
    assert await valkey_flow.drain_worker(about.name)
    await logged(tmp_path, "1 runs may go on for 20 s")
    worker.terminate()
    seen = (await valkey_flow.workers())[0].seen_at

    async def has_beaten_twice() -> bool:
        return (await valkey_flow.workers())[0].seen_at - seen > timedelta(seconds=1)

    # It has seen the signal by then, and holds its run.
    await eventually(has_beaten_twice)
    open_gate(ledger)
    assert await ended(worker) == 0
    assert await handle.result(timeout="1m") == (worker.pid, worker.pid)
    assert (await handle.get()).claims == 1


async def test_worker_processes_that_drain_are_not_replaced_and_the_last_one_ends_all(
    valkey_flow: RedisFlow, start_worker: Start, tmp_path: Path
):
    parent = start_worker("--lease", "2s", "--processes", "2")

    async def two() -> list[str]:
        names = [worker.name for worker in await valkey_flow.workers()]
        return names if len(names) == 2 else []

    first, second = await eventually(two)
    assert await valkey_flow.drain_worker(first)

    async def left() -> bool:
        return [worker.name for worker in await valkey_flow.workers()] == [second]

    await eventually(left)

    await logged(tmp_path, "is drained, and not replaced")
    assert parent.poll() is None
    assert await valkey_flow.drain_worker(second)
    assert await ended(parent) == 0
