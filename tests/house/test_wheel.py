"""What users install: the package with its scripts and types, and nothing of the house around it."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from redisflow.backend.script_files import split
from redisflow.backend.scripts import load_scripts

ROOT = Path(__file__).parents[2]


PRINT_SCRIPTS = """
import sys
sys.path.insert(0, sys.argv[1])
from redisflow.backend import script_files
from redisflow.backend.scripts import load_scripts
assert script_files.__file__.startswith(sys.argv[1]), script_files.__file__
for script in load_scripts():
    print(script.name, script.sha)
"""


def build(source: Path, kind: str, into: Path) -> Path:
    """Build without an environment of its own, hence without a network."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(into)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = into.iterdir()
    return built


def files_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "sdist", tmp_path_factory.mktemp("sdist"))


def test_the_wheel_has_every_script_in_one_file(wheel: Path) -> None:
    written = {path.relative_to(ROOT / "lua").as_posix(): path.read_text() for path in (ROOT / "lua").rglob("*.lua")}
    assert [name for name in files_in(wheel) if name.endswith(".lua")] == ["redisflow/lua/scripts.lua"]
    with zipfile.ZipFile(wheel) as archive:
        assert split(archive.read("redisflow/lua/scripts.lua").decode()) == written


def test_an_installed_wheel_sends_the_scripts_of_this_folder(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    command = [sys.executable, "-I", "-c", PRINT_SCRIPTS, str(tmp_path / "installed")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert dict(line.split() for line in done.stdout.splitlines()) == {
        script.name: script.sha for script in load_scripts()
    }


def test_the_wheel_has_every_module_and_the_mark_of_types(wheel: Path) -> None:
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "redisflow").rglob("*.py")}
    assert {name for name in files_in(wheel) if name.endswith(".py")} == modules
    assert "redisflow/py.typed" in files_in(wheel)


def test_the_wheel_has_the_projects_that_init_writes_and_no_compiled_file(wheel: Path) -> None:
    folder = ROOT / "redisflow" / "cli" / "new_project"
    written = {
        path.relative_to(ROOT).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert len(written) > 20
    assert {name for name in files_in(wheel) if name.startswith("redisflow/cli/new_project/")} == written
    assert not [name for name in files_in(wheel) if name.endswith(".pyc")]


def test_the_wheel_has_nothing_but_the_package_and_its_licence(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in files_in(wheel)}
    assert tops == {"redisflow", "redisflow-0.1.0.dist-info"}
    assert "redisflow-0.1.0.dist-info/licenses/LICENSE" in files_in(wheel)
    ours = [name for name in files_in(wheel) if name.startswith("redisflow/") and "/new_project/" not in name]
    pages = [
        name for name in ours if name.startswith(("redisflow/dashboard/static/", "redisflow/dashboard/templates/"))
    ]
    endings = {Path(name).suffix for name in set(ours) - set(pages)}
    assert endings == {".py", ".lua", ".typed"}
    assert {Path(name).suffix for name in pages} == {".html", ".css", ".js", ".svg", ".md", ".txt"}
    assert not [name for name in ours if "/tests/" in name or Path(name).name.startswith("test_")]
    assert wheel.stat().st_size < 1_000_000


def test_the_wheel_has_all_that_pages_are_made_of_and_no_source_map(wheel: Path) -> None:
    folder = ROOT / "redisflow" / "dashboard"
    made_of = {
        path.relative_to(ROOT).as_posix()
        for part in ("static", "templates")
        for path in (folder / part).rglob("*")
        if path.is_file()
    }
    assert len(made_of) > 30
    assert made_of <= files_in(wheel)
    with zipfile.ZipFile(wheel) as archive:
        scripts = [name for name in made_of if name.endswith((".js", ".css"))]
        assert not [name for name in scripts if b"sourceMappingURL" in archive.read(name)]


def test_what_is_of_others_is_what_it_says_with_its_licence(wheel: Path) -> None:
    folder = "redisflow/dashboard/static/vendor/"
    with zipfile.ZipFile(wheel) as archive:
        table = archive.read(folder + "VENDOR.md").decode()
        listed = dict(re.findall(r"^\| `(.+?)` \|.*`([0-9a-f]{64})` \|$", table, re.MULTILINE))
        there = {name.removeprefix(folder) for name in archive.namelist() if name.startswith(folder)}
        licences = {name for name in there if name.endswith(".LICENSE.txt")}
        assert licences == {"htmx.LICENSE.txt", "lucide.LICENSE.txt", "uplot.LICENSE.txt"}
        assert there - licences == {*listed, "VENDOR.md"}
        for name, fingerprint in listed.items():
            assert hashlib.sha256(archive.read(folder + name)).hexdigest() == fingerprint, name
        assert all(archive.read(folder + name).strip() for name in licences)


SEE_A_PAGE = """
import sys
sys.path.insert(0, sys.argv[1])
import redisflow
from starlette.testclient import TestClient
from redisflow import RedisFlow
from redisflow.dashboard import dashboard_app
assert redisflow.__file__.startswith(sys.argv[1]), redisflow.__file__
flow = RedisFlow("memory://", namespace="installed")
with TestClient(dashboard_app(flow), base_url="http://localhost") as client:
    page = client.get("/")
    assert page.status_code == 200, page.text
    print("No run yet" in page.text)
    links = [part.split('"')[0] for part in page.text.split('src="')[1:]]
    print({client.get(link).status_code for link in links})
    print(client.get("/api/v1/openapi.json").status_code)
"""


def test_the_dashboard_of_an_installed_wheel_needs_nothing_of_this_repository(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    # -I: neither this folder nor the environment's paths; an editable installation comes behind the wheel.
    command = [sys.executable, "-I", "-c", SEE_A_PAGE, str(tmp_path / "installed")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == ["True", "{200}", "200", ""]


def test_a_wheel_built_from_the_source_archive_is_the_same(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    (tmp_path / "built").mkdir()
    again = build(source, "wheel", tmp_path / "built")
    assert files_in(again) == files_in(wheel)
    assert again.read_bytes() == wheel.read_bytes()
    assert (source / "tests").is_dir()
