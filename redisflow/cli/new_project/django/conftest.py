"""Read by pytest: the fixtures `rf`, `worker` and `clock` are about this project's flow."""

import pytest

from project.flow import flow
from redisflow import RedisFlow


@pytest.fixture
def redisflow_app() -> RedisFlow:
    return flow
