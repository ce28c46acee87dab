"""`redisflow dev`: real processes, a server of its own, changes of files."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from redisflow.cli.dev.between import STOP_WITHIN_S
from redisflow.cli.dev.running import Running, claim, find_running
from tests.cli.running_dev import ENDLESS, MINIMAL, WITHIN_S, processes_in, run, wait_until


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
    assert time.monotonic() - began_s < STOP_WITHIN_S
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
