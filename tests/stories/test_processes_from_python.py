"""Several worker processes with one call: `flow.new_worker(processes=4)`."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import secrets
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from redisflow import InvalidWorkflow, RedisFlow, Step, WorkerProcessFailed, WorkflowFailed
from redisflow.cli.worker import make_parser, worker_options
from redisflow.worker.options import WorkerOptions
from redisflow.worker.processes import words_of
from tests.stories import process_flow
from tests.stories.world import adopt, eventually

ROOT = Path(__file__).resolve().parents[2]
WITHIN_S = 60.0
Program = asyncio.subprocess.Process
Start = Callable[..., Awaitable[Program]]

SHOP = """
import asyncio
import os

from redisflow import RedisFlow, Step

flow = RedisFlow(namespace=os.environ["SHOP_NAMESPACE"], call_timeout=os.environ.get("SHOP_CALL_TIMEOUT", "10s"))


async def work() -> int:
    await asyncio.sleep(0.02)
    return os.getpid()


@flow.define_workflow("work")
async def working(step: Step) -> int:
    return await step.run("work", work)
"""


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Return where the bodies of the worker processes write what they do."""
    path = tmp_path / "ledger.txt"
    path.touch()
    return path


@pytest.fixture
async def start(valkey_url: str, namespace: str, ledger: Path) -> AsyncIterator[Start]:
    """Return what starts a program; its worker processes share its stderr, whose end is the end of all of them."""
    programs: list[Program] = []

    async def start_program(*words: str, url: str = valkey_url, cwd: Path = ROOT, **environment: str) -> Program:
        environment = {"STORY_NAMESPACE": namespace, "STORY_LEDGER": str(ledger), **environment}
        program = await asyncio.create_subprocess_exec(
            sys.executable,
            *words,
            cwd=cwd,
            env={**os.environ, "REDISFLOW_URL": url, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        programs.append(program)
        return program

    yield start_program
    for program in programs:
        if program.returncode is None:
            program.kill()
        await end_of(program)


def from_python(**options: object) -> tuple[str, ...]:
    """The words that start a program with `flow.new_worker(**options)`."""
    return "-m", "tests.stories.process_parent", json.dumps(options)


async def said(program: Program, words: str, times: int = 1) -> None:
    """Wait until the program or its worker processes have written these words to stderr so often."""
    assert program.stderr is not None
    async with asyncio.timeout(WITHIN_S):
        while times:
            line = (await program.stderr.readline()).decode()
            assert line, f"all have ended, and {words!r} is still to be said {times} times"
            sys.stdout.write(line)
            times -= words in line


async def end_of(program: Program) -> str:
    """Wait until the program and all of its worker processes have ended; return what they wrote to stderr."""
    assert program.stderr is not None
    rest = (await asyncio.wait_for(program.stderr.read(), WITHIN_S)).decode()
    await program.wait()
    sys.stdout.write(rest)
    return rest


async def see_at_work(working: Any, pids: set[int], wanted: int) -> None:
    """Start runs until so many processes have worked on some."""

    async def enough() -> bool:
        handles = [await working.run(number) for number in range(12)]
        pids.update([await handle.result(timeout=WITHIN_S) for handle in handles])
        return len(pids) >= wanted

    await eventually(enough, within=WITHIN_S)


async def see_written(ledger: Path, line: str, times: int = 1) -> None:
    """Wait until bodies have written a line so often."""

    async def there() -> bool:
        return ledger.read_text().splitlines().count(line) >= times  # noqa: ASYNC240  # a few bytes

    await eventually(there, within=WITHIN_S)


# -- a program with worker processes ----------------------------------------------------------------------------------


async def test_a_program_starts_worker_processes_replaces_the_dead_and_stops_them_all(valkey_flow, start):
    working = adopt(valkey_flow, process_flow.working)
    program = await start(*from_python(processes=2, concurrency=3, lease="1s"))
    pids: set[int] = set()
    await see_at_work(working, pids, 2)
    assert program.pid not in pids
    os.kill(min(pids), signal.SIGKILL)
    await see_at_work(working, pids, 3)
    program.terminate()
    assert "was ended by SIGKILL, and is replaced" in await end_of(program)
    assert program.returncode == 0


async def test_a_second_signal_makes_all_processes_hand_their_runs_back_now(valkey_flow, start, ledger):
    holding = adopt(valkey_flow, process_flow.holding)
    program = await start(*from_python(processes=2, concurrency=1, grace="1h", lease="1m"))
    handles = [await holding.run() for _ in range(2)]
    await see_written(ledger, "hold", 2)
    program.send_signal(signal.SIGINT)
    await said(program, "1 runs may go on for 3600 s", 2)
    program.send_signal(signal.SIGINT)
    await end_of(program)
    assert program.returncode == 0
    for handle in handles:
        run = await handle.get()
        assert (run.status, run.crashes) == ("pending", 0)


async def test_the_first_signal_lets_runs_go_on(valkey_flow, start, ledger):
    holding = adopt(valkey_flow, process_flow.holding)
    program = await start(*from_python(processes=2, grace="1h", lease="1m"))
    handle = await holding.run()
    await see_written(ledger, "hold")
    program.terminate()
    ledger.with_suffix(".gate").touch()
    await end_of(program)
    assert program.returncode == 0
    run = await handle.get()
    assert (run.status, run.claims) == ("succeeded", 1)


@pytest.mark.parametrize("how", ["python", "command"])
async def test_a_program_that_is_killed_leaves_no_orphans_and_they_stop_as_on_sigterm(valkey_flow, start, ledger, how):
    holding = adopt(valkey_flow, process_flow.holding)
    command = ("-m", "redisflow", "worker", "tests/stories/process_flow.py:flow", "--processes", "2", "--lease", "1m")
    program = await start(*(from_python(processes=2, lease="1m") if how == "python" else command))
    handle = await holding.run()
    await see_written(ledger, "hold")
    program.kill()
    ledger.with_suffix(".gate").touch()
    await end_of(program)
    run = await handle.get()
    assert (run.status, run.claims) == ("succeeded", 1)


async def test_a_process_that_hangs_is_killed_in_the_end_whoever_is_left_to_do_it(valkey_flow, start, ledger):
    hanging = adopt(valkey_flow, process_flow.hanging)
    programs = [await start(*from_python(processes=2, concurrency=1, grace=0, lease="1m")) for _ in range(2)]
    for _ in range(4):
        await hanging.run()
    await see_written(ledger, "hang", 4)
    stopped, killed = programs
    stopped.terminate()
    killed.kill()
    # Each waits for its worker processes, too. They are killed, or ended by the second SIGTERM where that comes when
    # nobody listens for it any more.
    await asyncio.gather(end_of(stopped), end_of(killed))
    assert stopped.returncode == 0


async def test_a_crash_limit_of_one_reaches_the_processes(valkey_flow, start, ledger):
    crashing = adopt(valkey_flow, process_flow.crashing)
    await start(*from_python(processes=2, lease="500ms", crash_limit=1))
    handle = await crashing.run()
    with pytest.raises(WorkflowFailed, match="crashed several times in a row"):
        await handle.result(timeout=WITHIN_S)
    assert ledger.read_text().split() == ["crash"]


async def test_processes_serve_the_queues_that_they_are_given(valkey_flow, start):
    working = adopt(valkey_flow, process_flow.working)
    await start(*from_python(processes=2, queues=["urgent"]))
    elsewhere = await working.run(1)
    urgent = await working.run(2, queue="urgent")
    assert isinstance(await urgent.result(timeout=WITHIN_S), int)
    assert (await elsewhere.get()).status == "pending"


@pytest.mark.parametrize(
    "options",
    [
        WorkerOptions(),
        WorkerOptions(concurrency=7, queues=("a", "b"), max_bodies=3, lease="1.5s", grace=0.25, crash_limit=9),
    ],
)
def test_every_option_of_a_worker_has_a_word_on_the_command_line(options):
    read = worker_options(make_parser().parse_args(["shop:flow", *words_of(options)]))
    for name in ("concurrency", "queues", "max_bodies", "lease_ms", "grace_ms", "crash_limit", "resources"):
        assert getattr(read, name) == getattr(options, name)


# -- inside a program that goes on ------------------------------------------------------------------------------------


@pytest.fixture
def shop(valkey_url: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Return a module with a flow that this process and its worker processes import alike."""
    name = f"shop_{secrets.token_hex(4)}"
    (tmp_path / f"{name}.py").write_text(SHOP)
    monkeypatch.setenv("REDISFLOW_URL", valkey_url)
    monkeypatch.setenv("SHOP_NAMESPACE", namespace)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module(name)
    del sys.modules[name]


def are_gone(pids: list[int]) -> bool:
    """Whether none of these, all of them children of this process, is left."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 0)
            return False
    return True


async def test_they_work_inside_a_with_block_and_are_gone_behind_it(shop):
    async with shop.flow, shop.flow.new_worker(processes=2, concurrency=2) as processes:
        pids = processes.pids
        assert len(pids) == 2
        handles = await shop.working.run_many([None] * 20)
        worked = {await handle.result(timeout=WITHIN_S) for handle in handles}
        assert worked <= set(pids)
    assert are_gone(pids)
    assert processes.pids == []


async def test_a_process_that_was_killed_is_replaced(shop):
    async with shop.flow, shop.flow.new_worker(processes=2, lease="1s") as processes:
        before = processes.pids
        os.kill(before[0], signal.SIGKILL)

        async def replaced() -> bool:
            now = processes.pids
            return len(now) == 2 and before[0] not in now

        await eventually(replaced, within=WITHIN_S)
        assert before[1] in processes.pids
        handles = await shop.working.run_many([None] * 8)
        assert {await handle.result(timeout=WITHIN_S) for handle in handles} <= {*before, *processes.pids}


async def test_cancelling_run_stops_them(shop):
    processes = shop.flow.new_worker(processes=2)
    running = asyncio.create_task(processes.run())

    async def there() -> bool:
        return len(processes.pids) == 2

    await eventually(there, within=WITHIN_S)
    pids = processes.pids
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert are_gone(pids)


async def test_stop_ends_a_run_of_them_and_may_be_called_again(shop):
    processes = shop.flow.new_worker(processes=2)
    await processes.start()
    pids = processes.pids
    await asyncio.gather(processes.stop(grace="1h"), processes.stop())
    await processes.stop()
    assert are_gone(pids)


async def test_one_process_is_a_worker_in_this_process(shop):
    count = 1
    async with shop.flow, shop.flow.new_worker(processes=count):
        assert await (await shop.working.run()).result(timeout=WITHIN_S) == os.getpid()


# -- what cannot work -------------------------------------------------------------------------------------------------


async def test_a_flow_that_no_other_process_can_import_is_refused(valkey_url):
    flow = RedisFlow(valkey_url)
    with pytest.raises(InvalidWorkflow, match="at the top level of a module"):
        flow.new_worker(processes=2)


async def test_memory_is_not_shared_between_processes():
    with pytest.raises(InvalidWorkflow, match=r"memory://.*in this process alone"):
        RedisFlow("memory://").new_worker(processes=2)


async def test_resources_belong_to_the_flow_that_the_processes_import(shop):
    with pytest.raises(InvalidWorkflow, match=r"RedisFlow\(resources=\.\.\.\)"):
        shop.flow.new_worker(processes=2, resources=contextlib.nullcontext)


@pytest.mark.parametrize("processes", [0, -1, 1.5, True, "2"])
async def test_a_number_of_processes_that_is_none_is_refused(shop, processes):
    with pytest.raises(ValueError, match="processes is a whole number from 1"):
        shop.flow.new_worker(processes=processes)


async def test_options_that_cannot_work_are_refused_before_anything_is_started(shop):
    with pytest.raises(ValueError, match="lease"):
        shop.flow.new_worker(processes=2, lease="1ms")


async def test_a_workflow_that_the_processes_do_not_find_is_named(shop):
    @shop.flow.define_workflow("inner", version="v2")
    async def inner(step: Step) -> None: ...

    processes = shop.flow.new_worker(processes=2)
    with pytest.raises(InvalidWorkflow, match=r"no workflow inner@v2 there: define it at the top level"):
        await processes.start()
    assert processes.pids == []


async def test_a_flow_that_is_another_one_in_the_processes_is_named(shop, monkeypatch):
    monkeypatch.setenv("SHOP_NAMESPACE", "another-shop")
    processes = shop.flow.new_worker(processes=2)
    with pytest.raises(InvalidWorkflow, match=r"find RedisFlow\(.*another-shop.* there, not RedisFlow\("):
        await processes.start()
    assert processes.pids == []


async def test_processes_that_end_before_they_work_end_the_start_with_their_exit_code(shop, monkeypatch, capfd):
    monkeypatch.setenv("REDISFLOW_URL", "redis://127.0.0.1:1/0")  # a port that nobody listens on
    monkeypatch.setenv("SHOP_CALL_TIMEOUT", "300ms")
    processes = shop.flow.new_worker(processes=2)
    with pytest.raises(WorkerProcessFailed, match="exit code 3 before it worked") as failed:
        await processes.start()
    assert failed.value.exit_code == 3
    assert processes.pids == []
    assert "no answer from redis://127.0.0.1:1/0" in capfd.readouterr().err


async def test_a_command_whose_processes_cannot_work_ends_with_their_exit_code(start):
    words = ("-m", "redisflow", "worker", "tests/stories/no_such_file.py:flow", "--processes", "2")
    program = await start(*words)
    assert "there is no file" in await end_of(program)
    assert program.returncode == 2


# -- scripts ----------------------------------------------------------------------------------------------------------

SCRIPT = """
import asyncio
import os

from helper import note
from redisflow import RedisFlow, Step

flow = RedisFlow(namespace=os.environ["STORY_NAMESPACE"])
note("imported as " + __name__)


async def who() -> int:
    return os.getpid()


@flow.define_workflow("who")
async def whose(step: Step) -> int:
    return await step.run("who", who)


async def main() -> None:
    async with flow, flow.new_worker(processes=2) as processes:
        worked = await (await whose.run()).result(timeout=60)
        note("worked" if worked in processes.pids else "worked elsewhere")
"""
HELPER = """
import os


def note(line: str) -> None:
    with open(os.environ["STORY_LEDGER"], "a") as ledger:
        ledger.write(line + "\\n")
"""


def write_script(folder: Path, ending: str) -> str:
    (folder / "helper.py").write_text(HELPER)
    (folder / "shop.py").write_text(SCRIPT + textwrap.dedent(ending))
    return str(folder / "shop.py")


async def test_a_script_is_imported_by_its_file_wherever_it_was_started(start, ledger, tmp_path):
    script = write_script(tmp_path, 'if __name__ == "__main__":\n    asyncio.run(main())\n')
    program = await start(script, cwd=Path("/"))
    await end_of(program)
    assert program.returncode == 0
    assert ledger.read_text().splitlines() == ["imported as __main__", *["imported as shop"] * 2, "worked"]


async def test_a_script_without_a_guard_is_told_so_and_starts_no_processes_without_end(start, ledger, tmp_path):
    program = await start(write_script(tmp_path, "asyncio.run(main())\n"))
    said = await end_of(program)
    assert program.returncode == 1
    assert 'put that call under if __name__ == "__main__":' in said
    assert "WorkerProcessFailed" in said
    first, *others = ledger.read_text().splitlines()
    assert first == "imported as __main__"
    # The first to fail ends all of them: another may not have come as far.
    assert others in (["imported as shop"], ["imported as shop"] * 2)


async def test_a_command_may_not_import_such_a_script_either(start, ledger, tmp_path):
    script = write_script(tmp_path, "asyncio.run(main())\n")
    program = await start("-m", "redisflow", "worker", f"{script}:flow", PYTHONPATH=str(tmp_path))
    assert 'put that call under if __name__ == "__main__":' in await end_of(program)
    assert program.returncode == 1
    assert ledger.read_text().splitlines() == ["imported as shop"]


async def test_workflows_in_modules_beside_the_flow_are_imported_too(start, ledger, tmp_path):
    (tmp_path / "app.py").write_text(
        "import os\n\nfrom redisflow import RedisFlow\n\nflow = RedisFlow(namespace=os.environ['STORY_NAMESPACE'])\n"
    )
    (tmp_path / "sales.py").write_text(
        textwrap.dedent("""
            from app import flow
            from redisflow import Step

            @flow.define_workflow("sell")
            async def sell(step: Step) -> str:
                return "sold"
        """)
    )
    (tmp_path / "program.py").write_text(
        HELPER
        + textwrap.dedent("""
            import asyncio

            import app
            from sales import sell

            async def main() -> None:
                async with app.flow, app.flow.new_worker(processes=2):
                    note(await (await sell.run()).result(timeout=60))

            if __name__ == "__main__":
                asyncio.run(main())
        """)
    )
    program = await start(str(tmp_path / "program.py"))
    await end_of(program)
    assert program.returncode == 0
    assert ledger.read_text().splitlines() == ["sold"]
