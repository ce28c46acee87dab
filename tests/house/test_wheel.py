"""What users install: the package with its scripts and types, and nothing of the house around it."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


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


def test_the_wheel_has_every_script(wheel: Path) -> None:
    scripts = {f"redisflow/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "lua").rglob("*.lua")}
    assert scripts
    assert {name for name in files_in(wheel) if name.endswith(".lua")} == scripts


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
    pages = [name for name in ours if name.startswith("redisflow/dashboard/")]
    assert {Path(name).suffix for name in ours if name not in pages} == {".py", ".lua", ".typed"}
    # Beside its code: templates, styles, scripts, signs; and whose they are.
    assert {Path(name).suffix for name in pages} - {".py"} <= {".html", ".css", ".js", ".svg", ".md", ".txt"}


def test_a_wheel_built_from_the_source_archive_is_the_same(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    (tmp_path / "built").mkdir()
    assert files_in(build(source, "wheel", tmp_path / "built")) == files_in(wheel)
    assert (source / "tests").is_dir()
