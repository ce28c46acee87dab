"""The pytest plugin, as a project that installs redisflow meets it: the built wheel, in a pytest of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import redis

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]

SHOP = """
import asyncio
from redisflow import RedisFlow, Step

flow = RedisFlow("redis://production.invalid:6379/0", namespace="shop")

@flow.define_workflow("trial")
async def trial(name: str, step: Step) -> str:
    await step.run("welcome", str.upper, name)
    await step.sleep("month", "30d")
    return f"{name} was reminded"
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built, installed = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(built)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    (path,) = built.iterdir()
    with zipfile.ZipFile(path) as archive:
        archive.extractall(installed)
    return installed


@pytest.fixture
def project(
    pytester: pytest.Pytester, wheel: Path, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """Return a project with one flow, made for production, and one line in its configuration."""
    monkeypatch.setenv("PYTHONPATH", str(wheel))
    monkeypatch.setenv("REDISFLOW_TEST_REDIS_URL", valkey_url)
    # Not ours: what else is installed here, and how tests of this project are run.
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:valkey -p no:randomly -W error")
    pytester.makepyprojecttoml(
        """
        [tool.pytest]
        redisflow_app = "shop:flow"
        pythonpath = ["."]
        """
    )
    pytester.makepyfile(shop=SHOP)
    return pytester


def test_a_month_passes_in_a_test_of_the_application_as_it_is(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        from datetime import timedelta
        import pytest
        from shop import flow, trial

        pytestmark = pytest.mark.anyio

        async def test_it_skips(rf, worker, clock):
            assert rf is flow
            handle = await trial.run("ada")
            assert await handle.result() == "ada was reminded"
            run = await handle.get()
            assert run.finished_at - run.created_at == timedelta(days=30)

        async def test_it_is_moved(clock, worker):
            handle = await trial.run("ada")
            await clock.advance("29d")
            assert (await handle.get()).waiting_for == "timer"
            await clock.advance("1d")
            assert (await handle.get()).status == "succeeded"

        async def test_each_test_has_a_namespace_of_its_own(rf, worker):
            assert [run async for run in rf.list_runs()] == []
            await trial.run("ada")

        def test_code_without_a_loop_has_it_too(rf):
            handle = rf.sync.run_workflow(trial, "ada")
            assert handle.get().status == "pending"
            assert rf.namespace.startswith("test_code_without_a_loop_has_it_too")

        def test_afterwards_the_flow_is_where_it_was():
            assert flow.namespace == "shop"
        """
    )
    project.runpytest_subprocess("-v").assert_outcomes(passed=5)


def test_nothing_is_left_of_a_test(project: pytest.Pytester, valkey_url: str) -> None:
    project.makepyfile(
        """
        import pytest
        from shop import trial

        @pytest.mark.anyio
        async def test_leaves_much(rf, clock, worker):
            await trial.run_many(["ada"] * 10)
            await clock.settle()
            assert len([run async for run in rf.list_runs()]) == 10
        """
    )
    project.runpytest_subprocess().assert_outcomes(passed=1)
    with redis.Redis.from_url(valkey_url) as client:
        assert not client.keys("rf:{test_leaves_much*")


def test_processes_of_xdist_have_a_server_each_and_wrong_settings_are_named(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDISFLOW_TEST_REDIS_URL")
    project.makepyfile(
        """
        import os
        import pytest
        from shop import trial

        @pytest.mark.anyio
        @pytest.mark.parametrize("number", range(4))
        async def test_skips(rf, clock, worker, number):
            assert await (await trial.run("ada")).result() == "ada was reminded"

        def test_the_server_is_one_a_process(redisflow_url):
            assert redisflow_url.startswith("redis://127.0.0.1:")
        """
    )
    project.runpytest_subprocess("-n", "2").assert_outcomes(passed=5)
    result = project.runpytest_subprocess("-o", "redisflow_app=shop:trial", "-k", "skips and 0")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*redisflow_app = 'shop:trial' names no RedisFlow: write module:variable*"])


def test_a_project_may_have_its_own_say(project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        import pytest
        from redisflow import RedisFlow, Step

        @pytest.fixture
        def anyio_backend():
            return "asyncio", {"use_uvloop": False}

        @pytest.fixture
        def redisflow_app():
            flow = RedisFlow()

            @flow.define_workflow("five")
            async def five(step: Step) -> int:
                return 5

            return flow
        """
    )
    project.makepyfile(
        """
        import pytest

        @pytest.mark.anyio
        async def test_by_name(worker, rf):
            assert await (await rf.run_workflow("five")).result() == 5

        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", ["trio"])
        async def test_on_trio(rf):
            pass
        """
    )
    result = project.runpytest_subprocess()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*redisflow runs on asyncio, and the fixture anyio_backend says 'trio' here*"])


def test_who_does_not_use_it_starts_nothing(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import threading

        def test_plain():
            assert threading.active_count() == 1
        """
    )
    project.runpytest_subprocess().assert_outcomes(passed=1)
    shown = project.runpytest_subprocess("--fixtures", "-q").stdout.str()
    assert set(re.findall(r"^(\w+).* -- .*redisflow.testing.plugin.py", shown, re.MULTILINE)) == {
        "redisflow_url", "redisflow_app", "rf", "clock", "worker"
    }  # fmt: skip
