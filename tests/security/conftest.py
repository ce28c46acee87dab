"""Servers of these tests: those that know users are reached as users who may do exactly what redisflow does."""

from __future__ import annotations

import pytest

from tests.conftest import SERVER_KINDS

KINDS = [f"acl_{kind}" if kind in ("valkey", "redis") else kind for kind in SERVER_KINDS]


@pytest.fixture(params=KINDS)
def server_kind(request: pytest.FixtureRequest) -> str:
    """Name the kind of server that `server_url` leads to: "memory", "acl_valkey" or "acl_redis"."""
    kind: str = request.param
    return kind
