"""`redisflow dev`, as one types it: real processes, a server of its own, changes of files, keys of a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import termios
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from redisflow.cli.dev.running import Running, claim, find_running
from redisflow.cli.init import read_project
from redisflow.testing.server_process import pick_port

WITHIN_S = 60.0
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith(("REDISFLOW_", "DISPLAY", "WAYLAND"))
}


def run(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "redisflow", *words]
    environment = {**ENVIRONMENT, **more}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=WITHIN_S, check=False
    )


def _take_the_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C there is a signal


class Dev:
    """One `redisflow dev`; what it has written is read as it comes."""

    def __init__(self, folder: Path, *words: str, terminal: bool = False, within: str = "", **more: str) -> None:
        self.folder = folder
        self.text = ""
        self.descriptor: Any
        self.ours: int | None = None
        theirs: int = subprocess.PIPE
        if terminal:
            self.ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [*within.split(), sys.executable, "-m", "redisflow", "dev", *words],
            cwd=folder,
            env={**ENVIRONMENT, "TERM": "xterm", **more},
            stdin=theirs if terminal else subprocess.DEVNULL,
            stdout=theirs if terminal else subprocess.DEVNULL,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_the_terminal if terminal else None,  # noqa: PLW1509  # it starts no thread before
        )
        if terminal:
            os.close(theirs)
        out = self.process.stderr
        self.descriptor = self.ours if out is None else out.fileno()

    def read(self, until: Callable[[str], Any], within_s: float = WITHIN_S) -> Any:
        """What `until` finds in the text that is written from the last such place on."""
        deadline_s = time.monotonic() + within_s
        while not (found := until(self.text)):
            left_s = deadline_s - time.monotonic()
            ready, _, _ = select.select([self.descriptor], [], [], max(0.0, left_s))
            data = b""
            if ready:
                with contextlib.suppress(OSError):  # the other end of a terminal is closed
                    data = os.read(self.descriptor, 65536)
            assert data, f"not found before it {'ended' if ready else 'was too late'}: {self.text}"
            self.text += data.decode(errors="replace")
        return found

    def wait_for(self, pattern: str) -> re.Match[str]:
        found: re.Match[str] = self.read(re.compile(pattern).search)
        self.text = self.text[found.end() :]
        return found

    def press(self, key: str) -> None:
        assert self.ours is not None
        os.write(self.ours, key.encode())

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        with contextlib.suppress(AssertionError):
            self.read(lambda _: False)
        return self.process.wait(WITHIN_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.ours is not None:
            os.close(self.ours)
        elif self.process.stderr is not None:
            self.process.stderr.close()


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


def processes_in(folder: Path) -> list[str]:
    """What runs in a folder or below it, as its command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            where = (entry / "cwd").readlink()
            if where == folder or folder in where.parents:
                found.append((entry / "cmdline").read_text().replace("\0", " "))
    return found


def wait_until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


MINIMAL = """\
from redisflow import RedisFlow, Step

flow = RedisFlow(namespace="shop")


async def answer() -> str:
    return {said!r}


@flow.define_workflow("greet")
async def greet(step: Step) -> str:
    return await step.run("answer", answer)
"""
ENDLESS = "import asyncio\n" + MINIMAL.format(said="late").replace(
    "async def answer() -> str:\n", "async def answer() -> str:\n    print('began')\n    await asyncio.sleep(1000)\n"
)


def test_a_run_that_is_started_beside_it_finishes_and_it_says_so(project: Path, dev):
    running = dev("--headless")
    running.wait_for(r"server     valkey [\d.]+, redis-cli -p \d+, data in \.redisflow/valkey")
    running.wait_for(r"ready in [\d.]+ s: workflows:flow, 2 workflows: order, shipment")
    done = run(project, "run", "exec", "order", "--input", "@order.json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"payment": "payment-of-order-1", "parcel": "parcel with cup, teapot"}
    running.wait_for(r"\d\d:\d\d:\d\d worker +run\.succeeded order [0-9a-f]{32}\n")
    assert json.loads(run(project, "run", "list", "--json").stdout)[0]["workflow"] in {"order", "shipment"}
    doctor = run(project, "doctor", "--strict")
    assert doctor.returncode == 0, doctor.stdout
    assert "redisflow dev, which runs here" in doctor.stdout


def test_without_a_terminal_it_writes_plain_text_to_standard_error_alone(project: Path, dev):
    (project / "workflows.py").write_text("import this_is_nowhere\n")
    done = run(project, "dev", "--headless", "--ephemeral", "--no-reload")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.isascii()
    assert "\x1b" not in done.stderr
    assert "workflows:flow cannot be imported\n" in done.stderr
    assert "ModuleNotFoundError: No module named 'this_is_nowhere'\n" in done.stderr
    assert "redisflow/cli" not in done.stderr


def test_a_syntax_error_keeps_the_old_worker_and_a_fix_is_taken_up(project: Path, dev):
    code = project / "workflows.py"
    code.write_text(MINIMAL.format(said="old"))
    running = dev("--headless")
    running.wait_for("ready in")
    code.write_text("x = (\n")
    running.wait_for("cannot be imported: the worker goes on with the code from before")
    running.wait_for("SyntaxError: '\\(' was never closed")
    started = run(project, "run", "start", "greet", "-n", "shop")
    exec_old = run(project, "run", "result", started.stdout.strip(), "-n", "shop")
    assert json.loads(exec_old.stdout) == "old", exec_old.stderr
    code.write_text(MINIMAL.format(said="new"))
    running.wait_for(r"workflows\.py changed: workflows:flow with 1 workflow was taken up")
    assert json.loads(run(project, "run", "exec", "greet").stdout) == "new"


def test_data_survive_a_restart_and_so_does_the_port_and_runs_are_given_back(project: Path, dev):
    code = project / "workflows.py"
    code.write_text(ENDLESS)
    first = dev("--headless")
    port = first.wait_for(r"redis-cli -p (\d+)")[1]
    first.wait_for("ready in")
    run_id = run(project, "run", "start", "greet").stdout.strip()
    first.wait_for("began")
    assert first.end() == 130
    assert "redisflow dev" not in run(project, "config", "show").stdout, "which is gone with its server"
    code.write_text(MINIMAL.format(said="given back"))
    second = dev("--headless")
    assert second.wait_for(r"redis-cli -p (\d+)")[1] == port
    second.wait_for(rf"run\.succeeded greet {run_id}")
    assert json.loads(run(project, "run", "show", run_id, "--json").stdout)["crashes"] == 0
    assert second.end(signal.SIGTERM) == 0


def test_a_second_one_uses_the_server_of_the_first_and_ends_with_it(project: Path, dev):
    first = dev("--headless")
    url = first.wait_for(r"REDISFLOW_URL=(\S+)")[1]
    first.wait_for("ready in")
    second = dev("--headless")
    second.wait_for(rf"{re.escape(url)}, of the `redisflow dev` that runs here already \(pid {first.process.pid}\)")
    second.wait_for("ready in")
    workers = json.loads(run(project, "workers", "list", "--json").stdout)
    assert len(workers) == 2
    assert first.end() == 130
    second.wait_for(rf"the `redisflow dev` whose server this was \(pid {first.process.pid}\) has ended")
    assert second.process.wait(WITHIN_S) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_no_process_behind(project: Path, dev, number: signal.Signals):
    (project / "workflows.py").write_text(ENDLESS)
    running = dev("--headless")
    running.wait_for("ready in")
    assert run(project, "run", "start", "greet").returncode == 0
    running.wait_for("began")
    assert len(processes_in(project)) >= 3
    began_s = time.monotonic()
    assert running.end(number) == (130 if number == signal.SIGINT else 0)
    assert time.monotonic() - began_s < 15
    assert processes_in(project) == []


def test_when_it_is_killed_nothing_is_left_either_and_no_code_that_is_imported_for_ever(project: Path, dev):
    code = project / "workflows.py"
    code.write_text(MINIMAL.format(said="x"))
    running = dev("--headless")
    running.wait_for("ready in")
    code.write_text("import time\nprint('importing')\ntime.sleep(1000)\n")
    running.wait_for("importing")
    running.process.kill()
    running.process.wait()
    wait_until(lambda: processes_in(project) == [])
    code.write_text(MINIMAL.format(said="x"))
    second = dev("--headless")
    second.wait_for("ready in")


def test_a_second_ctrl_c_does_not_wait_for_a_step_that_blocks_the_worker(project: Path, dev):
    text = MINIMAL.format(said="late")
    blocking = "async def answer() -> str:\n    print('blocked')\n    time.sleep(1000)\n"
    (project / "workflows.py").write_text("import time\n" + text.replace("async def answer() -> str:\n", blocking))
    running = dev("--headless")
    running.wait_for("ready in")
    assert run(project, "run", "start", "greet").returncode == 0
    running.wait_for("blocked")
    running.process.send_signal(signal.SIGINT)
    running.wait_for("stopping")
    began_s = time.monotonic()
    assert running.end() == 130
    assert time.monotonic() - began_s < 8
    assert processes_in(project) == []


def test_under_nohup_it_goes_on_when_the_terminal_is_closed(project: Path, dev):
    (project / "workflows.py").write_text(MINIMAL.format(said="x"))
    running = dev("--headless", within="nohup")
    running.wait_for("ready in")
    running.process.send_signal(signal.SIGHUP)
    assert json.loads(run(project, "run", "exec", "greet").stdout) == "x"
    assert running.end(signal.SIGTERM) == 0
    assert "stopping" in running.text


def test_a_worker_that_dies_is_replaced(project: Path, dev):
    (project / "workflows.py").write_text(MINIMAL.format(said="here"))
    running = dev("--headless")
    running.wait_for("ready in")
    (worker,) = json.loads(run(project, "workers", "list", "--json").stdout)
    os.kill(worker["pid"], signal.SIGKILL)
    running.wait_for("the worker was ended by signal 9")
    running.wait_for("it had ended: workflows:flow with 1 workflow was taken up")
    assert json.loads(run(project, "run", "exec", "greet").stdout) == "here"


def test_an_app_that_names_another_server_is_told_and_nothing_is_done_there(project: Path, dev, valkey_url: str):
    code = project / "workflows.py"
    own = MINIMAL.format(said="x")
    code.write_text(own.replace("RedisFlow(", f"RedisFlow({valkey_url.replace('://', '://:secret@')!r}, "))
    running = dev("--headless")
    running.wait_for("workflows:flow is about another server: waiting for a change")
    assert "secret" not in running.text
    running.wait_for(r"or work there on purpose: redisflow dev --url")
    code.write_text(own)
    running.wait_for("ready in|was taken up")
    assert running.end() == 130
    code.write_text(own.replace("RedisFlow(", f"RedisFlow({valkey_url!r}, "))
    named = dev("--headless", "--url", valkey_url)
    named.wait_for(r"server     redis://\S+ \(from --url\)")
    named.wait_for("ready in")
    assert not any("valkey-server" in command for command in processes_in(project))


def test_an_ephemeral_one_leaves_no_data_and_workflows_py_is_found_without_settings(project: Path, dev):
    (project / "redisflow.toml").unlink()
    running = dev("--headless", "--ephemeral")
    running.wait_for("its data are gone at the end")
    running.wait_for("ready in [\\d.]+ s: workflows:flow, 2 workflows")
    assert run(project, "run", "exec", "order", "--input", "@order.json", "--app", "workflows:flow").returncode == 0
    assert running.end() == 130
    assert not (project / ".redisflow" / "valkey").exists()


def test_the_server_is_for_its_owner_and_loopback_alone(project: Path, dev):
    running = dev("--headless")
    port = int(running.wait_for(r"redis-cli -p (\d+)")[1])
    running.wait_for("ready in")
    home = project / ".redisflow"
    assert (home.stat().st_mode & 0o777, (home / "valkey").stat().st_mode & 0o777) == (0o700, 0o700)
    assert (home / "valkey" / "valkey.sock").stat().st_mode & 0o777 == 0o700
    assert "*\n" in (home / ".gitignore").read_text()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"CONFIG GET bind\r\nCONFIG GET appendfsync\r\nCONFIG GET maxmemory-policy\r\n")
        answer = b""
        while b"noeviction" not in answer:
            answer += connection.recv(4096)
    assert b"127.0.0.1" in answer
    assert b"everysec" in answer


def test_what_code_of_users_prints_and_logs_is_in_the_log_and_cannot_steer_the_terminal(project: Path, dev):
    text = MINIMAL.format(said="done").replace(
        "async def answer() -> str:\n",
        "async def answer() -> str:\n    print('\\x1b[2Jprinted')\n    logging.getLogger('shop').warning('logged')\n",
    )
    (project / "workflows.py").write_text("import logging\n" + text)
    running = dev("--headless")
    running.wait_for("ready in")
    assert run(project, "run", "exec", "greet").returncode == 0
    running.wait_for(r"app +\\x1b\[2Jprinted")
    running.wait_for(r"app +logged")


def test_links_and_folders_of_others_are_not_written_to(project: Path, tmp_path: Path):
    (tmp_path / "theirs").mkdir()
    (project / ".redisflow").symlink_to(tmp_path / "theirs")
    done = run(project, "dev", "--headless")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert ".redisflow: it is a link or a file: move it away" in done.stderr
    assert list((tmp_path / "theirs").iterdir()) == []
    (project / ".redisflow").unlink()
    (project / ".redisflow").mkdir()
    (project / ".redisflow" / "dev.lock").symlink_to(tmp_path / "theirs" / "precious")
    assert run(project, "dev", "--headless").returncode == 1
    assert list((tmp_path / "theirs").iterdir()) == []


def test_a_server_is_believed_only_where_the_file_that_names_it_is_ones_own(tmp_path: Path, monkeypatch):
    claimed = claim(tmp_path)
    assert claimed is not None
    claimed.say(Running(1, "redis://127.0.0.1:1/0"))
    assert find_running(tmp_path / "below") == Running(1, "redis://127.0.0.1:1/0")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert find_running(tmp_path / "below") is None
    claimed.release()


def test_without_an_app_it_says_how_to_name_one(tmp_path: Path):
    done = run(tmp_path, "dev", "--headless")
    assert done.returncode == 2
    assert "there is no app here, nor a workflows.py" in done.stderr
    assert "redisflow init" in done.stderr


def test_a_package_of_workflows_is_found_with_all_its_modules(project: Path, dev):
    (project / "redisflow.toml").unlink()
    (project / "workflows.py").unlink()
    (project / "workflows").mkdir()
    (project / "workflows" / "__init__.py").write_text("")
    (project / "workflows" / "base.py").write_text("from redisflow import RedisFlow\nflow = RedisFlow()\n")
    for name in ("one", "two"):
        (project / "workflows" / f"{name}.py").write_text(
            "from redisflow import Step\nfrom workflows.base import flow\n"
            f"@flow.define_workflow({name!r})\nasync def {name}(step: Step) -> None: ...\n"
        )
    running = dev("--headless")
    running.wait_for("ready in [\\d.]+ s: workflows.base:flow, 2 workflows: one, two")


def test_keys_of_a_terminal_restart_clear_and_quit(project: Path, dev):
    (project / "workflows.py").write_text(MINIMAL.format(said="x"))
    running = dev("--headless", terminal=True)
    running.wait_for("r restart")
    running.wait_for("ready in")
    running.press("cy and then quit, or restart" * 10)
    running.press("\x1b[A")
    assert run(project, "run", "exec", "greet").returncode == 0
    pasted = running.read(re.compile(r"(?s).*run\.succeeded").search)[0]
    assert not re.search("Clear|cleared|as you asked", pasted), "what is pasted is no keys"
    running.press("r")
    running.wait_for("as you asked: workflows:flow with 1 workflow was taken up")
    running.press("c")
    running.wait_for(r"Clear all runs .* y/n")
    running.press("n")
    running.wait_for("nothing is cleared")
    assert len(json.loads(run(project, "run", "list", "--json").stdout)) == 1
    port = json.loads((project / ".redisflow" / "dev.lock").read_text())["url"]
    for key in ("c", "y", "c", "y"):
        running.press(key)
        time.sleep(0.1)  # as fast as somebody types
    running.wait_for(r"Clear all runs .* y/n")
    running.wait_for("the data are cleared")
    running.wait_for("begun anew: workflows:flow with 1 workflow was taken up")
    assert json.loads(run(project, "run", "list", "--json").stdout) == []
    assert json.loads((project / ".redisflow" / "dev.lock").read_text())["url"] == port
    assert "Clear all runs" not in running.text, "which was asked while it cleared"
    running.press("q")
    with contextlib.suppress(AssertionError):
        running.read(lambda _: False)
    assert running.process.wait(WITHIN_S) == 0


def test_on_a_terminal_errors_are_a_panel_and_ctrl_c_ends_it(project: Path, dev):
    (project / "workflows.py").write_text("x = (\n")
    running = dev("--headless", terminal=True)
    running.wait_for("workflows:flow cannot be imported: waiting for a change")
    running.wait_for("╰")
    (project / "workflows.py").write_text(MINIMAL.format(said="x"))
    running.wait_for("ready in|was taken up")
    running.press("\x03")
    with contextlib.suppress(AssertionError):
        running.read(lambda _: False)
    assert running.process.wait(WITHIN_S) == 130
    assert processes_in(project) == []


def test_the_port_of_the_dashboard_is_the_next_free_one_where_it_is_taken(project: Path, dev):
    port = pick_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        running = dev("--port", str(port), "--no-open")
        other = running.wait_for(rf"port {port} is taken: the dashboard is on (\d+)")[1]
        running.wait_for(rf"dashboard  http://127\.0\.0\.1:{other}\n")


def fetch(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=WITHIN_S) as response:
            return response.status, response.read().decode()
    except http.client.RemoteDisconnected:  # by one that was just ending; browsers ask again, too
        return fetch(url)


def test_the_dashboard_shows_the_runs_and_goes_on_when_it_dies_and_through_changes(project: Path, dev):
    code = project / "workflows.py"
    code.write_text(MINIMAL.format(said="old"))
    running = dev("--port", str(pick_port()), "--no-open")
    url = running.wait_for(r"dashboard  (http://127\.0\.0\.1:\d+)\n")[1]
    running.wait_for("ready in")
    run_id = run(project, "run", "start", "greet").stdout.strip()
    running.wait_for(f"run.succeeded greet {run_id}")
    status, page = fetch(f"{url}/runs")
    assert (status, run_id in page) == (200, True)
    children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text().split()
    (pid,) = (int(each) for each in children if "--fd" in Path(f"/proc/{each}/cmdline").read_text())
    os.kill(pid, signal.SIGKILL)
    running.wait_for("the dashboard ended with -9")
    assert run_id in fetch(f"{url}/runs")[1]
    code.write_text(MINIMAL.format(said="new"))
    running.wait_for("was taken up")
    assert run_id in fetch(f"{url}/runs")[1]  # whoever asks in between waits for the next
    lock = json.loads((project / ".redisflow" / "dev.lock").read_text())
    assert lock["dashboard"] == url
    assert running.end() == 130
    assert processes_in(project) == []


def test_on_a_terminal_run_ids_lead_to_the_dashboard(project: Path, dev):
    (project / "workflows.py").write_text(MINIMAL.format(said="x"))
    running = dev("--port", str(pick_port()), "--no-open", terminal=True)
    url = running.wait_for(r"dashboard\S* +\S*(http://127\.0\.0\.1:\d+)")[1]
    running.wait_for("ready in")
    run_id = run(project, "run", "start", "greet").stdout.strip()
    running.wait_for(rf"\x1b\]8;[^;]*;{url}/runs/{run_id}\x1b\\[^\n]*{run_id}")


def test_a_named_server_that_is_away_ends_it_with_3(project: Path):
    done = run(project, "dev", "--headless", "--url", "redis://:secret@127.0.0.1:1/0")
    assert done.returncode == 3
    assert "no answer from redis://***@127.0.0.1:1/0" in done.stderr
    assert "secret" not in done.stderr


def test_in_the_background_of_a_terminal_it_leaves_the_keys_alone(project: Path, dev):
    (project / "workflows.py").write_text(MINIMAL.format(said="x"))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "redisflow", "dev", "--headless"],
        cwd=project,
        env=ENVIRONMENT,
        stdin=theirs,  # a terminal, but not the one that controls it
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stderr is not None
        while b"ready in" not in process.stderr.readline():
            assert process.poll() is None
        os.write(ours, b"q")
        assert process.poll() is None
        process.terminate()
        process.communicate(timeout=WITHIN_S)
        assert process.returncode == 0
    finally:
        process.kill()
        os.close(ours)
        os.close(theirs)
