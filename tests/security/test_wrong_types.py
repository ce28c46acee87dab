"""No script leaves a run in between, whichever key is of another type than it should be.

The tests of the scripts (tests/lua) are run once more, and each of their calls is tried before on damaged keys: see
wrong_types.py. REDISFLOW_TEST_WRONG_TYPES=whole takes all of them, three times each; otherwise those of some scripts.
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

import tests.lua.harness
from redisflow.backend.scripts import load_scripts
from redisflow.testing import ServerOptions, start_server
from tests.security.wrong_types import WrongTypes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WHOLE = os.environ.get("REDISFLOW_TEST_WRONG_TYPES") == "whole"
FILES = sorted(path.stem for path in Path(tests.lua.harness.__file__).parent.glob("test_*.py"))
SOME = (
    "test_batches",
    "test_cancel",
    "test_children",
    "test_continue",
    "test_mail",
    "test_purge",
    "test_redis_scripts",
    "test_retry",
    "test_schedules",
    "test_verdicts",
)
# These send thousands of calls: what they send the others send, too.
LARGE = ("model", "thousand", "starve", "piece_by_piece", "many_runs", "hundred", "jumps", "without_memory")
# Where the run's own key is damaged there is nothing to go by: it is taken off the listing that led there.
NOTHING_LEFT = {("purge_runs", "run")}


@pytest.fixture(scope="module")
def client() -> Iterator[redis.Redis]:
    """A server of our own: these tests empty it all the time."""
    with (
        start_server(ServerOptions(appendonly=False)) as server,
        redis.Redis.from_url(server.url, retry=Retry(NoBackoff(), 0)) as client,
    ):
        for script in load_scripts("test"):
            client.script_load(script.text)
        yield client


def stories_of(file: str) -> Iterator[Callable[[WrongTypes], None]]:
    """The tests of a file that need nothing but the scripts."""
    for name, test in vars(importlib.import_module(f"tests.lua.{file}")).items():
        is_test = name.startswith("test_") and inspect.isfunction(test)
        if (
            is_test
            and [*inspect.signature(test).parameters] == ["lua"]
            and not any(word in f"{file} {name}" for word in LARGE)
        ):
            yield test


@pytest.mark.parametrize("file", FILES if WHOLE else SOME)
def test_whichever_key_is_damaged_no_run_is_torn_and_nothing_is_lost(client: redis.Redis, file: str):
    tried: Counter[tuple[str, str]] = Counter()
    found: list[str] = []
    attempts = 0
    for test in stories_of(file):
        client.flushall()
        lua = WrongTypes(client, load_scripts("test"), tried, most=3 if WHOLE else 1)
        try:
            test(lua)
        finally:
            lua.end()
        attempts += len(lua.attempts)
        for attempt in lua.attempts:
            at = f"{test.__name__}: {attempt.script} with {attempt.kind} damaged"
            found += [f"{at} tears {run}" for run in attempt.torn]
            found += [f"{at} takes away: {owed}" for owed in attempt.taken]
            if (attempt.script, attempt.kind) not in NOTHING_LEFT:
                found += [f"{at} loses: {problem}" for problem in attempt.lost]
    assert attempts, "no call was tried"
    assert not found, "\n".join(found)
