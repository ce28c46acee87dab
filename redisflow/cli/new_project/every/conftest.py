"""Read by pytest: the fixtures `rf`, `worker` and `clock` are about this flow."""

import pytest

from redisflow import RedisFlow
from workflows import flow


@pytest.fixture
def redisflow_app() -> RedisFlow:
    return flow
