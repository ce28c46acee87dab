"""From nothing to a finished run in the browser: `init`, `dev`, and a run that the command line starts beside it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from redisflow.testing.server_process import pick_port
from tests.e2e.conftest import OpenPage

WITHIN_S = 60
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("REDISFLOW_")}


def redisflow(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "redisflow", *words]
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=WITHIN_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    redisflow(tmp_path, "init", "shop", "--yes")
    return tmp_path / "shop"


@pytest.fixture
def dev(project: Path) -> Iterator[str]:
    """The origin of the dashboard of a `redisflow dev` that is ready."""
    port = pick_port()
    command = [sys.executable, "-m", "redisflow", "dev", "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=project, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    written = []
    for line in process.stderr:  # it ends with the process
        written.append(line)
        if line.lstrip().startswith("ready in") or "ready in" in line:
            break
    assert process.poll() is None, "".join(written)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.communicate(timeout=WITHIN_S)


def test_a_run_of_the_command_line_is_found_in_the_dashboard(project: Path, dev: str, open_page: OpenPage):
    page = open_page("/runs", at=dev).page
    expect(page.get_by_text("No run yet")).to_be_visible()
    expect(page.locator("[data-live]")).to_have_attribute("data-state", "on")
    run_id = redisflow(project, "run", "start", "order", "--input", "@order.json").strip()
    expect(page.locator(f"#row-{run_id}")).to_contain_text("succeeded", timeout=30_000)
    result = json.loads(redisflow(project, "run", "exec", "order", "--input", "@order.json"))
    page.locator(f"#row-{run_id} a.name").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("order")
    expect(page.locator(".head .pill")).to_have_text("succeeded")
    expect(page.get_by_role("complementary", name="Details")).to_contain_text(result["payment"])
    expect(page).to_have_url(re.compile(run_id))
