"""`redisflow dashboard`: the pages and the API of one namespace, served by uvicorn.

Whoever reaches it sees what users store and may cancel runs, so it listens on this machine alone unless somebody says
who may come in.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Generator, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from redisflow.cli.exits import EXIT_FAILED, EXIT_INTERRUPTED
from redisflow.cli.given import PLAIN, Given
from redisflow.cli.output import note

if TYPE_CHECKING:
    import uvicorn

    from redisflow.flow import RedisFlow

PORT = 8899
STOP_WITHIN_S = 2
"""Open streams of events would never end by themselves."""
_Hidden = Parameter(show=False)


async def dashboard(  # noqa: PLR0913  # each is a flag
    *,
    host: Annotated[str, Parameter(help="where to listen")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="of the pages and the API")] = PORT,
    read_only: Annotated[bool, Parameter(negative=(), help="change nothing")] = False,
    auth: Annotated[
        list[str] | None,
        Parameter(
            negative=(),
            help="who may come in: basic:USER:PASSWORD[:ROLE], bearer:TOKEN[:ROLE], @FILE with such lines, or env:NAME;"
            " several times for several. ROLE is viewer, operator or admin",
        ),
    ] = None,
    root_path: Annotated[str, Parameter(help="the prefix under which a proxy serves it: /redisflow")] = "",
    also: Annotated[
        list[str] | None, Parameter(negative=(), help="a further namespace of the server; several times for several")
    ] = None,
    allow_host: Annotated[
        list[str] | None, Parameter(negative=(), help="a name by which it may be called, besides localhost")
    ] = None,
    insecure: Annotated[bool, Parameter(negative=(), help="listen elsewhere without --auth")] = False,
    fd: Annotated[int | None, _Hidden] = None,
    control: Annotated[int | None, _Hidden] = None,
    given: Given = PLAIN,
) -> int:
    """Serve the dashboard: on this machine alone, unless --host and --auth say otherwise."""
    if not all(map(find_spec, ("uvicorn", "starlette", "jinja2"))):
        msg = "the dashboard needs an extra that is not installed: pip install 'redisflow[dashboard]'"
        raise ValueError(msg)
    _refuse_strangers(host, auth, insecure=insecure)
    if control is not None:
        _end_with(control)
    from redisflow.dashboard.access import prefix as prefixes  # noqa: PLC0415  # of an extra
    from redisflow.dashboard.access.given_auth import read_auth  # noqa: PLC0415  # the same
    from redisflow.dashboard.app import dashboard_app  # noqa: PLC0415  # the same

    prefix = root_path.rstrip("/")
    if prefix and not prefixes.is_prefix(prefix):
        msg = (
            f"--root-path is written as /redisflow is, with letters, digits and any of . _ ~ - in it, not {root_path!r}"
        )
        raise ValueError(msg)
    flow = given.flow()
    others = [_beside(flow, namespace) for namespace in also or ()]
    app = dashboard_app(
        flow,
        others=others,
        auth=read_auth(auth) if auth else None,
        read_only=read_only,
        allowed_hosts=[*_own_name(host), *(allow_host or ())],
    )
    if prefix and any(prefixes.is_begun_by(prefix, path) for path in prefixes.paths_of(app.routes)):
        msg = f"--root-path {prefix}: the dashboard's own paths begin so, and nobody could tell what is meant by one"
        raise ValueError(msg)
    async with contextlib.AsyncExitStack() as stack:
        for each in (flow, *others):
            await stack.enter_async_context(each)
        with _listen(host, port, fd) as listener:
            if control is not None:
                os.write(control, b'{"works": true}\n')
            else:
                _say_where(listener, prefix)
            return await _serve(prefixes.FixedPrefix(app, prefix) if prefix else app, listener)


def _beside(flow: RedisFlow, namespace: str) -> RedisFlow:
    """A further namespace of the same server, which has to be there."""
    where = flow.location
    return type(flow)(
        where.url, namespace=namespace, partitions=None, call_timeout=where.call_timeout_s, payloads=where.payloads
    )


def _refuse_strangers(host: str, auth: Sequence[str] | None, *, insecure: bool) -> None:
    if not (auth or insecure or _is_loopback(host)):
        msg = (
            f"--host {host} lets others in, and nobody has said who they may be: give --auth,"
            " or --insecure where something in front of it asks"
        )
        raise ValueError(msg)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def _own_name(host: str) -> list[str]:
    """Whoever listens at one address is called by it."""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.is_unspecified or address.is_loopback:
            return []
        return [f"[{host}]" if address.version == 6 else host]  # IPv6
    return [host]


def _listen(host: str, port: int, descriptor: int | None) -> socket.socket:
    if descriptor is not None:
        return socket.socket(fileno=descriptor)
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, kind)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()  # whoever is told where it is may ask at once
        except OSError:
            listener.close()
            raise
    except OSError as error:
        msg = f"cannot listen on {host} port {port}: {error.strerror or error}; --port chooses another"
        raise ValueError(msg) from error
    return listener


def _say_where(listener: socket.socket, prefix: str) -> None:
    host, port = listener.getsockname()[:2]
    # All addresses of a machine are no address that a browser could ask for.
    shown = "localhost" if ipaddress.ip_address(host).is_unspecified else f"[{host}]" if ":" in host else host
    note(f"http://{shown}:{port}{prefix}/ (Ctrl-C ends it)")


async def _serve(app: Callable[..., Any], listener: socket.socket) -> int:
    import uvicorn  # noqa: PLC0415  # an extra

    class Server(uvicorn.Server):
        """Its own handlers would end the process by the signal again."""

        @contextlib.contextmanager
        def capture_signals(self) -> Generator[None]:
            yield

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_WITHIN_S,
    )
    server = Server(config)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # What is there now stays. To look at all of it for garbage took as long as half of a page, in one of ten requests.
    gc.collect()
    gc.freeze()
    with _on_signals(server) as seen:
        await server.serve(sockets=[listener])
    if not server.started:
        return EXIT_FAILED
    return EXIT_INTERRUPTED if signal.SIGINT in seen else 0


@contextlib.contextmanager
def _on_signals(server: uvicorn.Server) -> Generator[list[signal.Signals]]:
    """The first ends it when requests are answered, the second at once."""
    loop = asyncio.get_running_loop()
    seen: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        server.force_exit = bool(seen)
        server.should_exit = True
        seen.append(number)

    numbers = () if sys.platform == "win32" else (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, end, number)
    try:
        yield seen
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _end_with(descriptor: int) -> None:
    """When `redisflow dev` is gone, so is this."""
    from redisflow.worker.options import WorkerOptions  # noqa: PLC0415  # of `redisflow dev` alone
    from redisflow.worker.supervisor import Supervisor  # noqa: PLC0415  # the same

    Supervisor(descriptor, WorkerOptions(grace=STOP_WITHIN_S)).follow()
