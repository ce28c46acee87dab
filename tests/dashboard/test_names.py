"""What `redisflow.dashboard` offers, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import redisflow.dashboard


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_each_name_is_there():
    for name in redisflow.dashboard.__all__:
        assert getattr(redisflow.dashboard, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'dashboard'"):
        _ = redisflow.dashboard.dashboard


def test_who_does_not_use_it_does_not_import_its_libraries():
    libraries = "sorted({'jinja2', 'sse_starlette', 'starlette', 'uvicorn'} & sys.modules.keys())"
    assert python(f"import sys, redisflow.dashboard; redisflow.RedisFlow; print({libraries})") == "[]"


@pytest.mark.parametrize("library", ["starlette", "jinja2", "sse_starlette"])
def test_what_is_missing_is_named_with_what_to_install(library: str):
    said = python(
        f"""
import sys
sys.modules[{library!r}] = None
import redisflow
from redisflow import dashboard
try:
    dashboard.dashboard_app
except redisflow.MissingExtra as error:
    print(error)
"""
    )
    assert said == f"the dashboard needs {library}, which is not installed here: pip install 'redisflow[dashboard]'"
