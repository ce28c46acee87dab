"""`redisflow init`: what it writes runs, and nothing that is there is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from redisflow.cli.init import LAYERS, read_project
from redisflow.cli.main import main

KINDS = {"order": (), "fastapi": ("--fastapi",), "django": ("--django",), "minimal": ("--minimal",)}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "shop"


@pytest.mark.parametrize("kind", KINDS)
def test_the_tests_of_a_new_project_pass(project: Path, kind: str, valkey_url: str, one_server):
    assert main(["init", "shop", *KINDS[kind]]) == 0
    environment = {**os.environ, "REDISFLOW_TEST_REDIS_URL": valkey_url, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:valkey", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_project_has_what_is_needed_to_begin(project: Path, kind: str, capsys):
    assert main(["init", "shop", *KINDS[kind]]) == 0
    said = capsys.readouterr()
    written = {path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()}
    assert written == set(said.out.split())
    assert {"redisflow.toml", "compose.yaml", ".gitignore", "README.md", "tests/test_workflows.py"} <= written
    assert "cd shop" in said.err
    assert "redisflow dev" in (project / "README.md").read_text()
    assert ".redisflow/" in (project / ".gitignore").read_text()
    compose = (project / "compose.yaml").read_text()
    assert '"--appendonly", "yes"' in compose
    assert '"noeviction"' in compose


def test_an_app_is_named_that_can_be_imported(project: Path, monkeypatch, capsys):
    for kind in KINDS:
        content = read_project(kind)["redisflow.toml"].decode()
        module = content.partition('app = "')[2].partition(":")[0]
        assert f"{module.replace('.', '/')}.py" in read_project(kind)


def test_nothing_is_written_into_a_folder_that_holds_something(project: Path, capsys):
    project.mkdir()
    (project / "workflows.py").write_text("# mine\n")
    (project / "other.txt").write_text("mine\n")
    assert main(["init", "shop"]) == 5
    said = capsys.readouterr()
    assert {entry.name for entry in project.iterdir()} == {"workflows.py", "other.txt"}
    assert "other.txt, workflows.py" in said.err
    assert "These would not be written, they exist: workflows.py" in said.err
    assert "--yes" in said.err


def test_with_yes_it_writes_beside_what_is_there_and_over_nothing(project: Path, capsys):
    project.mkdir()
    (project / "workflows.py").write_text("# mine\n")
    (project / "tests").mkdir()
    (project / "tests" / "test_workflows.py").symlink_to("nowhere")
    assert main(["init", "shop", "--yes"]) == 0
    said = capsys.readouterr()
    assert "left as it is: workflows.py" in said.err
    assert (project / "workflows.py").read_text() == "# mine\n"
    assert (project / "tests" / "test_workflows.py").is_symlink()
    assert not (project / "tests" / "nowhere").exists()
    assert (project / "redisflow.toml").is_file()
    assert main(["init", "shop", "--yes"]) == 0


def test_nothing_is_written_behind_a_link(project: Path, tmp_path: Path, capsys):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    project.mkdir()
    (project / "tests").symlink_to(elsewhere)
    assert main(["init", "shop", "--yes"]) == 0
    assert "left as it is: tests/test_workflows.py" in capsys.readouterr().err
    assert list(elsewhere.iterdir()) == []


def test_a_folder_with_a_repository_and_an_environment_alone_is_taken_for_empty(project: Path):
    (project / ".git").mkdir(parents=True)
    (project / ".venv").mkdir()
    assert main(["init", "shop", "--minimal"]) == 0


def test_what_cannot_be_meant_is_refused(project: Path, capsys):
    assert main(["init", "--fastapi", "--django"]) == 2
    project.write_text("a file\n")
    assert main(["init", "shop"]) == 2
    assert "is a file" in capsys.readouterr().err


def test_every_kind_is_tested():
    assert KINDS.keys() == LAYERS.keys()
