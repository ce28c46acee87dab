"""Side effects in workflow code are refused in tests and in `redisflow worker --debug`; see conftest.py."""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from redisflow import NotAllowedInWorkflow, RedisFlow, Step, StepOptions, WorkflowFailed
from redisflow.testing import refuse_side_effects
from tests.stories.world import QUICK

ROOT = Path(__file__).resolve().parents[2]
HERE = r"test_side_effects\.py:\d+ in "


@pytest.fixture
async def memory_flow(memory_url: str, namespace: str) -> AsyncIterator[RedisFlow]:
    async with RedisFlow(memory_url, namespace=namespace) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "there.txt").write_text("before")
    return tmp_path


async def result_of(flow: RedisFlow, effect: Callable[[Path], object], folder: Path) -> str:
    """Do something in workflow code, and return what the run says."""

    @flow.define_workflow("effect")
    async def doing(step: Step) -> str:
        effect(folder)
        return "done"

    async with flow.new_worker(lease="30s"):
        return str(await (await doing.run()).result(timeout="1m"))


# -- what is refused --------------------------------------------------------------------------------------------------


def connect(_: Path) -> None:
    with socket.socket() as connection:
        connection.connect(("127.0.0.1", 9))


def send(_: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.sendto(b"hello", ("127.0.0.1", 9))


def listen(_: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))


def resolve(_: Path) -> None:
    socket.getaddrinfo("localhost", 80)


def fetch(_: Path) -> None:
    urllib.request.urlopen("http://127.0.0.1:9/")


def run_a_program(_: Path) -> None:
    subprocess.run([sys.executable, "-c", ""], check=True)


def run_a_shell(_: Path) -> None:
    os.system("true")


def fork(_: Path) -> None:
    os._exit(0) if os.fork() == 0 else os.wait()


def send_a_signal(_: Path) -> None:
    os.kill(os.getpid(), 0)


def write_a_file(folder: Path) -> None:
    (folder / "new.txt").write_text("text")


def append_to_a_file(folder: Path) -> None:
    with (folder / "there.txt").open("a") as file:
        file.write("text")


def change_a_file(folder: Path) -> None:
    with (folder / "there.txt").open("r+b") as file:
        file.write(b"text")


def open_with_flags(folder: Path) -> None:
    os.close(os.open(folder / "new.txt", os.O_CREAT | os.O_WRONLY))


def touch(folder: Path) -> None:
    (folder / "new.txt").touch()


def truncate(folder: Path) -> None:
    os.truncate(folder / "there.txt", 0)


def remove(folder: Path) -> None:
    (folder / "there.txt").unlink()


def rename(folder: Path) -> None:
    (folder / "there.txt").rename(folder / "new.txt")


def make_a_folder(folder: Path) -> None:
    (folder / "new").mkdir()


def remove_a_folder(folder: Path) -> None:
    folder.rmdir()


def remove_a_tree(folder: Path) -> None:
    shutil.rmtree(folder)


def copy_a_file(folder: Path) -> None:
    shutil.copy(folder / "there.txt", folder / "new.txt")


def make_a_temporary_file(_: Path) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"text")


def link(folder: Path) -> None:
    (folder / "new.txt").symlink_to(folder / "there.txt")


def change_its_mode(folder: Path) -> None:
    (folder / "there.txt").chmod(0o600)


def open_a_database(folder: Path) -> None:
    sqlite3.connect(folder / "new.db").close()


@pytest.mark.parametrize(
    ("effect", "what"),
    [
        (connect, r"socket\.connect"),
        (send, r"socket\.sendto"),
        (listen, r"socket\.bind"),
        (resolve, r"socket\.getaddrinfo"),
        (fetch, r"urllib\.Request"),
        (run_a_program, r"subprocess\.Popen"),
        (run_a_shell, r"os\.system"),
        (fork, r"os\.fork"),
        (send_a_signal, r"os\.kill"),
        (write_a_file, "open a file for writing"),
        (append_to_a_file, "open a file for writing"),
        (change_a_file, "open a file for writing"),
        (open_with_flags, "open a file for writing"),
        (touch, r"os\.utime"),
        (truncate, r"os\.truncate"),
        (remove, r"os\.remove"),
        (rename, r"os\.rename"),
        (make_a_folder, r"os\.mkdir"),
        (remove_a_folder, r"os\.rmdir"),
        (remove_a_tree, r"shutil\.rmtree"),
        (copy_a_file, r"shutil\.copyfile"),
        (make_a_temporary_file, "open a file for writing"),
        (link, r"os\.symlink"),
        (change_its_mode, r"os\.chmod"),
        (open_a_database, r"sqlite3\.connect"),
    ],
)
async def test_it_is_refused_with_its_line_and_what_to_use(memory_flow, folder, effect, what):
    with pytest.raises(WorkflowFailed, match=rf"may not .*{what} \(.*{HERE}{effect.__name__}\).*step\.run") as failed:
        await result_of(memory_flow, effect, folder)
    assert failed.value.failure.error_type == "redisflow.errors.NotAllowedInWorkflow"
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("there.txt", "before")]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.12 is the first to audit threads")
async def test_a_thread_is_refused(memory_flow, folder):
    with pytest.raises(WorkflowFailed, match=rf"use _thread\.start_\w+ \(.*{HERE}<lambda>\)"):
        await result_of(memory_flow, lambda _: threading.Thread(target=print).start(), folder)


async def test_it_is_refused_on_each_kind_of_server_in_tasks_and_in_what_cleans_up(flow, folder):
    cleaned: list[str] = []

    async def clean_up() -> None:
        try:
            await asyncio.sleep(0)
            write_a_file(folder)
        except NotAllowedInWorkflow as refused:
            cleaned.append(str(refused))

    @flow.define_workflow("task")
    async def in_a_task(step: Step) -> None:
        try:
            await asyncio.create_task(clean_up())
            await step.sleep("nap", "10ms")
        finally:
            await clean_up()

    async with flow.new_worker(lease="30s"):
        await (await in_a_task.run()).result(timeout="1m")
    assert len(cleaned) == 4, "in the task and in `finally`, on the first pass (which is parked) and on the second"
    assert not (folder / "new.txt").exists()


# -- what is not ------------------------------------------------------------------------------------------------------


async def test_the_bodies_of_steps_may_do_what_they_like(flow, folder):
    async def on_the_loop() -> None:
        write_a_file(folder)
        with socket.create_server(("127.0.0.1", 0)) as server:
            _, writer = await asyncio.open_connection(*server.getsockname())
            writer.close()
            await writer.wait_closed()

    def in_a_thread() -> str:
        run_a_program(folder)
        remove_a_tree(folder)
        return "done"

    @flow.define_workflow("bodies")
    async def bodies(step: Step) -> str:
        await step.run(StepOptions("on-the-loop", retry=QUICK), on_the_loop)
        return await step.run("in-a-thread", in_a_thread)

    async with flow.new_worker(lease="30s"):
        assert await (await bodies.run()).result(timeout="1m") == "done"
    assert not folder.exists()


def read(folder: Path) -> None:
    assert (folder / "there.txt").read_text() == "before"
    assert [path.name for path in folder.iterdir()] == ["there.txt"]


def write_nowhere(_: Path) -> None:
    with Path(os.devnull).open("w") as nothing:
        nothing.write("text")


def print_something(_: Path) -> None:
    print("this is seen on each pass")


def raise_and_format(_: Path) -> None:
    try:
        raise ValueError
    except ValueError:
        logging.getLogger("stories").warning("it was raised on purpose", exc_info=True)


@pytest.mark.parametrize("effect", [read, write_nowhere, print_something, raise_and_format])
async def test_what_changes_nothing_outside_is_allowed(memory_flow, folder, effect):
    assert await result_of(memory_flow, effect, folder) == "done"


async def test_an_import_in_workflow_code_may_write_its_cache_and_do_what_modules_do(
    memory_flow, folder, namespace, monkeypatch
):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.syspath_prepend(folder)
    name = f"imported_{namespace.rpartition(':')[2]}"
    (folder / f"{name}.py").write_text(
        "from pathlib import Path\n\nPath(__file__).with_suffix('.log').write_text('')\n"
    )
    assert await result_of(memory_flow, lambda _: importlib.import_module(name), folder) == "done"
    assert (folder / f"{name}.log").exists()
    assert [path.name.partition(".")[0] for path in (folder / "__pycache__").iterdir()] == [name]


async def test_the_log_of_a_run_may_go_to_a_file(memory_flow, folder):
    handler = logging.FileHandler(folder / "run.log", delay=True)
    logger = logging.getLogger("redisflow.workflow")
    logger.addHandler(handler)
    try:

        @memory_flow.define_workflow("logging")
        async def logs(step: Step) -> None:
            step.log.warning("on its way")

        async with memory_flow.new_worker(lease="30s"):
            await (await logs.run()).result(timeout="1m")
    finally:
        logger.removeHandler(handler)
        handler.close()
    assert (folder / "run.log").read_text() == "on its way\n"


async def test_what_the_garbage_collector_removes_meanwhile_is_not_the_workflows_doing(memory_flow, folder):
    class Remover:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            (folder / "there.txt").unlink()

    def collect(_: Path) -> None:
        Remover()
        gc.collect()

    assert await result_of(memory_flow, collect, folder) == "done"
    assert not list(folder.iterdir())


# -- on and off -------------------------------------------------------------------------------------------------------

PROGRAM = """
import asyncio
import contextlib
import sys

from redisflow import RedisFlow, Step, WorkflowFailed
from redisflow.testing import refuse_side_effects

flow = RedisFlow("memory://")


@flow.define_workflow("write")
async def write(path: str, step: Step) -> str:
    with open(path, "w") as file:
        file.write("text")
    return "written"


async def attempt() -> None:
    async with flow, flow.new_worker():
        try:
            print(await (await write.run(sys.argv[1])).result(timeout="1m"))
        except WorkflowFailed as failed:
            print(failed.failure.error_type)


asyncio.run(attempt())
with refuse_side_effects():
    with refuse_side_effects():
        asyncio.run(attempt())
    asyncio.run(attempt())
asyncio.run(attempt())
"""


def test_nothing_is_refused_unless_it_is_asked_for(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(tmp_path / "new.txt")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    refused = "redisflow.errors.NotAllowedInWorkflow"
    assert result.stdout.split() == ["written", refused, refused, "written"], result.stderr


def test_outside_of_workflow_code_nothing_is_refused(tmp_path):
    with refuse_side_effects():
        write_a_file(tmp_path)
        remove_a_tree(tmp_path)
    assert not tmp_path.exists()
