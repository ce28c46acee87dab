"""A TCP proxy in the test's own loop, that does to a connection what networks do."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Fault(enum.Enum):
    """What becomes of a piece of data."""

    NONE = "pass it on"
    CUT = "close the connection instead of passing it on"
    CUT_AFTER = "pass it on, and close the connection instead of passing the answer on"


class Proxy:
    """Between a client and a server; `fault` is asked for every request that passes."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.fault: Callable[[bytes], Fault] = lambda _: Fault.NONE
        self.port = 0
        self.connections = 0
        self.requests: list[bytes] = []
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.open_connections: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def blackhole(self) -> None:
        """Swallow everything from now on, and close nothing."""
        self._flowing.clear()

    def heal(self) -> None:
        """Connections that are made from now on work; what was swallowed stays so."""
        self._flowing = asyncio.Event()
        self._flowing.set()

    def cut(self) -> None:
        """Close every connection."""
        for writer in self.open_connections:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        flowing = self._flowing
        try:
            up_reader, up_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        self.open_connections |= {writer, up_writer}
        silent = asyncio.Event()

        async def requests() -> None:
            while data := await reader.read(1 << 16):
                await flowing.wait()
                self.requests.append(data)
                fault = self.fault(data)
                if fault is Fault.CUT:
                    return
                if fault is Fault.CUT_AFTER:
                    silent.set()
                up_writer.write(data)

        async def replies() -> None:
            while data := await up_reader.read(1 << 16):
                await flowing.wait()
                if silent.is_set():
                    return
                writer.write(data)

        tasks = [asyncio.create_task(requests()), asyncio.create_task(replies())]
        self._tasks.update(tasks)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.difference_update(tasks)
        for one in (writer, up_writer):
            one.transport.abort()
            self.open_connections.discard(one)


@asynccontextmanager
async def open_proxy(target: tuple[str, int]) -> AsyncIterator[Proxy]:
    proxy = Proxy(target)
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            await proxy.serve(reader, writer)
        except asyncio.CancelledError:
            pass  # the test is over; asyncio's own callback trips over a handler that ends cancelled
        finally:
            handlers.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.heal()
        proxy.cut()
        for task in list(handlers):
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        await asyncio.sleep(0)
