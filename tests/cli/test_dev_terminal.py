"""`redisflow dev` for people: keys and colours of a terminal, the dashboard."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from redisflow.testing.server_process import pick_port
from tests.cli.running_dev import ENVIRONMENT, MINIMAL, WITHIN_S, Dev, processes_in, run, wait_until


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
    running.press("c")
    running.wait_for(r"Clear all runs .* y/n")
    running.press("y")
    running.wait_for("clearing the data")
    running.press("c")
    meanwhile = running.read(re.compile(r"(?s).*the data are cleared").search)[0]
    assert "Clear all runs" not in meanwhile
    running.wait_for("begun anew: workflows:flow with 1 workflow was taken up")
    assert json.loads(run(project, "run", "list", "--json").stdout) == []
    assert json.loads((project / ".redisflow" / "dev.lock").read_text())["url"] == port
    wait_until(lambda: has_quit(running))
    assert running.process.returncode == 0


def has_quit(running: Dev) -> bool:
    running.press("q")  # twice, where it was asked about clearing once more
    time.sleep(0.3)
    return running.process.poll() is not None


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
