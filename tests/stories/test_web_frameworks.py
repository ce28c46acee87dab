"""Web frameworks: the examples serve real requests, and a worker beside an application fails where it is seen."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from redisflow import InvalidWorkflow, RedisFlow, Step
from tests.stories.world import eventually

ROOT = Path(__file__).resolve().parents[2]


def load(example: str, monkeypatch: pytest.MonkeyPatch, url: str) -> ModuleType:
    """Import an example afresh, with its server in the environment."""
    monkeypatch.setenv("REDISFLOW_URL", url)
    spec = importlib.util.spec_from_file_location(f"{example}_under_test", ROOT / "examples" / f"{example}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


# -- FastAPI ----------------------------------------------------------------------------------------------------------


def test_a_fastapi_application_works_in_its_own_process(monkeypatch, valkey_url):
    example = load("fastapi_app", monkeypatch, valkey_url)
    with TestClient(example.app) as client:
        order = {"id": "order-1", "cups": 2}
        started = client.post("/orders", json=order)
        assert started.status_code == 202
        run_id = started.json()["run_id"]
        assert client.post("/orders", json=order).json() == {"run_id": run_id}
        assert client.get(f"/orders/{run_id}").json() == {"order_id": "order-1", "cents": 1200}
        # The application's loop and the portal of its sync endpoints, side by side.
        assert client.get(f"/orders/{run_id}/status").json() == {"status": "succeeded"}
        assert client.post("/orders", json={"id": "order-2"}).status_code == 422
    example.flow.sync.close()


def test_a_fastapi_application_has_the_dashboard_inside(monkeypatch, valkey_url):
    example = load("dashboard_fastapi", monkeypatch, valkey_url)
    with TestClient(example.app, base_url="http://localhost") as client:
        order = {"id": "order-1", "card": "4111111111111234", "cups": 2}
        started = client.post("/orders", json=order).json()
        assert client.get(started["page"]).status_code == 401
        client.auth = ("vera", "vera looks on")
        page = client.get(started["page"])
        assert page.status_code == 200
        assert "...1234" in page.text
        assert "4111111111111234" not in page.text
        assert "/ops/static/" in page.text
        client.cookies.clear()  # a program that asks, not a page
        start = {"workflow": "order", "input": order}
        refused = client.post("/ops/api/v1/runs", json=start)
        assert refused.status_code == 403
        assert "needs the role operator" in refused.text
        client.auth = ("otto", "otto operates")
        assert client.post("/ops/api/v1/runs", json=start).is_success
    example.flow.sync.close()


def test_a_lifespan_ends_with_the_connection_closed_and_begins_again(valkey_url, namespace):
    flow = RedisFlow(valkey_url, namespace=namespace)

    @flow.define_workflow("echo")
    async def echo(text: str, step: Step) -> str:
        return text

    app = FastAPI(lifespan=flow.lifespan(worker=True, lease="30s", grace="1s"))

    @app.get("/{text}")
    async def read(text: str) -> str:
        return await (await flow.run_workflow(echo, text)).result(timeout="1m")

    for text in ("once", "twice"):
        with TestClient(app) as client:
            assert client.get(f"/{text}").json() == text


async def test_a_lifespan_without_a_worker_only_connects(flow):
    async with flow.lifespan()("the application"):
        assert (await flow.open()).namespace == flow.namespace
    with pytest.raises(TypeError, match=r"lease: options of a worker, which needs lifespan\(worker=True\)"):
        flow.lifespan(lease="30s")


async def test_what_keeps_the_worker_from_starting_keeps_the_application_from_starting(flow):
    with pytest.raises(InvalidWorkflow, match="no workflow is registered"):
        async with flow.lifespan(worker=True)():
            pytest.fail("it has started")


async def test_a_worker_that_fails_in_an_application_is_logged_at_once_and_raised_at_its_end(
    valkey_url, namespace, caplog
):
    flow = RedisFlow(valkey_url, namespace=namespace)

    @flow.define_workflow("echo")
    async def echo(text: str, step: Step) -> str:
        return text

    with pytest.raises(Exception, match="closed"):  # what is raised is what made it fail
        async with flow.lifespan(worker=True, lease="30s")():
            assert await (await echo.run("works")).result(timeout="1m") == "works"
            await flow.backend.close()  # what only a defect does: somebody closes the worker's connection
            with caplog.at_level(logging.CRITICAL, "redisflow.worker"):

                async def logged() -> bool:
                    return any("goes on without it" in record.getMessage() for record in caplog.records)

                await eventually(logged)


# -- Flask ------------------------------------------------------------------------------------------------------------


def test_a_flask_application_starts_runs_and_waits_for_them(monkeypatch, valkey_url):
    example = load("flask_app", monkeypatch, valkey_url)
    client = example.app.test_client()
    with example.flow.sync.worker(lease="30s"):
        started = client.post("/pictures", json={"picture": "cat.png"})
        assert started.status_code == 202
        assert client.get(f"/pictures/{started.json['run_id']}").json == {"picture": "cat-small.png"}
        assert client.post("/pictures", json={"picture": 5}).status_code == 422
    example.flow.sync.close()


# -- Django -----------------------------------------------------------------------------------------------------------

REQUESTS = """
import asyncio, json
import django
django.setup()
from django.test import AsyncClient, Client
from redisflow import InvalidInput
from redisflow.contrib.django import run_on_commit
from shop.models import Order
from shop.workflows import flow, fulfil_order

client = Client()
created = client.post("/orders", {"sku": "cup"})
done = client.get(f"/orders/{created.json()['order']}")
declined = client.post("/orders", {"sku": "cup", "card": "declined"})

async def ask():
    return (await AsyncClient().get("/quotes/teapot")).json()

try:
    run_on_commit(fulfil_order, "no number")
except InvalidInput as error:
    refused = type(error).__name__
run_on_commit(fulfil_order, created.json()["order"], idempotency_key="at-once")
at_once = flow.sync.run_workflow(fulfil_order, created.json()["order"], idempotency_key="at-once")
print(json.dumps({
    "created": created.status_code,
    "done": done.json(),
    "declined": declined.status_code,
    "orders": Order.objects.count(),
    "quote": asyncio.run(ask()),
    "refused": refused,
    "at once": at_once.workflow_run.existing,
}))
"""


@pytest.fixture
def environment(valkey_url, namespace, tmp_path):
    """Return the environment of the example's project."""
    return {
        **os.environ,
        "REDISFLOW_URL": valkey_url,
        "SHOP_NAMESPACE": namespace,
        "SHOP_DATABASE": str(tmp_path / "shop.sqlite3"),
        "DJANGO_SETTINGS_MODULE": "project.settings",
    }


@pytest.fixture
def project(environment):
    """Return the same, with tables in its database."""
    manage(environment, "migrate", "--run-syncdb", "--verbosity=0")
    return environment


def manage(environment, *words: str) -> str:
    return python(environment, "manage.py", *words)


def python(environment, *words: str) -> str:
    ended = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT / "examples" / "django_app",
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@contextlib.contextmanager
def working(environment, *words: str, until: str):
    """A worker as people start it, stopped as an orchestrator stops it."""
    worker = subprocess.Popen(
        [sys.executable, "manage.py", "redisflow_worker", "--lease=30s", "--grace=2s", *words],
        cwd=ROOT / "examples" / "django_app",
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert worker.stderr is not None
    said = ""
    try:
        while until not in said:
            line = worker.stderr.readline()
            assert line, said
            said += line
        yield
    finally:
        worker.send_signal(signal.SIGTERM)
        rest = worker.communicate(timeout=60)[1]
    assert worker.returncode == 0, said + rest


@pytest.mark.parametrize("processes", [1, 2])
def test_a_django_project_starts_runs_on_commit_and_its_command_works_on_them(project, processes):
    with working(project, f"--processes={processes}", until="started: queues default"):
        seen = json.loads(python(project, "-c", REQUESTS))
    assert seen == {
        "created": 202,
        "done": {"done": "one cup for order 1", "status": "shipped"},
        "declined": 402,
        "orders": 1,
        "quote": {"cents": 3400},
        "refused": "InvalidInput",
        "at once": True,
    }


def test_the_django_command_has_the_options_of_the_command_line(environment):
    def options(text: str) -> set[str]:
        return set(re.findall(r"--[a-z-]+", text))

    ours = options(manage(environment, "redisflow_worker", "--help"))
    # `redisflow worker redisflow.contrib.django.worker:flow --reload` works for Django, too.
    assert options(python(environment, "-m", "redisflow", "worker", "--help")) - {"--reload"} <= ours


WRONG_SETTINGS = """
import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
settings.configure(INSTALLED_APPS=["redisflow.contrib.django"])
django.setup()
from django.test.utils import override_settings
from redisflow.contrib.django import get_flow
for wrong in (None, "no.such.flow", "redisflow.contrib.django.get_flow", {"url": "ftp://x"}, {"uri": "memory://"}):
    with override_settings(REDISFLOW=wrong):
        try:
            get_flow()
        except ImproperlyConfigured as error:
            print(error)
with override_settings(REDISFLOW={"url": "memory://", "namespace": "one"}):
    assert get_flow() is get_flow()
    print(get_flow())
"""


def test_wrong_settings_are_explained(environment):
    lines = python(environment, "-c", WRONG_SETTINGS).splitlines()
    patterns = [
        r"REDISFLOW is the dotted path of a RedisFlow .* or a dict .*",
        r"REDISFLOW = 'no\.such\.flow' cannot be imported: No module named 'no'",
        r"REDISFLOW = 'redisflow\.contrib\.django\.get_flow' names a function, not a RedisFlow",
        r"REDISFLOW makes no RedisFlow: .*ftp.*",
        r"REDISFLOW makes no RedisFlow: .*'uri'.*",
        r"RedisFlow\(.*namespace='one'\)\)",
    ]
    assert len(lines) == len(patterns), lines
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), line


def test_database_connections_are_checked_around_a_body_as_around_a_request(project):
    said = python(
        {**project, "PYTHONPATH": "."},
        "-c",
        """
import threading
import django
django.setup()
from django.db import connection
from redisflow.contrib.django import close_old_connections_around
from shop.models import Order

@close_old_connections_around
def body() -> int:
    return Order.objects.count()

# CONN_MAX_AGE is 0: a connection lasts as long as a request, or a body.
print(body(), connection.connection, body.__annotations__["return"].__name__)
""",
    )
    assert said == "0 None int\n"
