"""`make demo` keeps what it promises, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from redisflow.testing.server_process import find_binary

ROOT = Path(__file__).resolve().parents[2]
SECONDS = r"^ *\d+\.\d\ds  "


def is_running(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def is_listening(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def test_the_demo_is_what_make_runs():
    assert "KEEP=$(KEEP) $(BIN)/python examples/demo.py\n" in (ROOT / "Makefile").read_text()


def test_an_order_survives_its_killed_worker_and_is_charged_once(tmp_path: Path, missing: Callable[[str], NoReturn]):
    if find_binary("auto") is None:
        missing("no server to run: redisflow[server]")
    result = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    said = result.stdout
    assert result.returncode == 0, said + result.stderr
    assert result.stderr == ""
    assert re.search(SECONDS + "worker 1 killed with SIGKILL", said, re.MULTILINE)
    assert re.search(SECONDS + "order-1 succeeded, after \\d+ claims by two workers$", said, re.MULTILINE)
    ledger = [line.split()[0] for line in said.splitlines() if line.startswith("    ")]
    assert ledger.count("charged") == 1
    assert set(ledger) == {"charged", "shipped"}
    assert "The card was charged once, though the worker that charged it died." in said
    workers = [int(pid) for pid in re.findall(r"started \(process (\d+),", said)]
    assert len(workers) == 2
    assert not [pid for pid in workers if is_running(pid)]
    (port,) = re.findall(r"started on redis://127\.0\.0\.1:(\d+)/0", said)
    assert not is_listening(int(port))
    (pages,) = re.findall(SECONDS + r"watch it: http://127\.0\.0\.1:(\d+)/runs/[0-9a-f]{32}$", said, re.MULTILINE)
    assert not is_listening(int(pages))
    assert list(tmp_path.iterdir()) == []


def test_the_dashboard_of_the_demo_stays_until_it_is_ended(tmp_path: Path, missing: Callable[[str], NoReturn]):
    if find_binary("auto") is None:
        missing("no server to run: redisflow[server]")
    with subprocess.Popen(
        [sys.executable, ROOT / "examples" / "demo.py"],
        cwd=tmp_path,
        env={**os.environ, "KEEP": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        try:
            address = next(line.split()[3] for line in demo.stdout if line.startswith("The dashboard stays: "))
            with urllib.request.urlopen(address, timeout=30) as answer:
                page = answer.read().decode()
            assert "charge-card" in page
            assert "succeeded" in page
        finally:
            demo.send_signal(signal.SIGINT)
            demo.communicate(timeout=60)
    assert demo.returncode == 0
    assert not is_listening(int(address.split(":")[2].split("/")[0]))
    assert list(tmp_path.iterdir()) == []
