"""A server that answers what a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import hiredis


class ScriptedServer:
    """`answer` is called with each command, and returns the reply as it goes over the wire (None: no reply)."""

    def __init__(self, answer: Callable[[list[bytes]], bytes | None]) -> None:
        self.answer = answer
        self.commands: list[list[bytes]] = []
        self.connections = 0
        self.port = 0
        self._writer: asyncio.StreamWriter | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def push(self, data: bytes) -> None:
        """Send something on the last connection."""
        assert self._writer is not None
        self._writer.write(data)

    def drop(self) -> None:
        """Close the last connection."""
        assert self._writer is not None
        self._writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writer = writer
        # A request has the form of a reply that is an array.
        parser: Any = hiredis.Reader(notEnoughData=...)
        while data := await reader.read(1 << 16):
            parser.feed(data)
            while (command := parser.gets()) is not ...:
                self.commands.append(command)
                reply = self.answer(command)
                if reply is not None:
                    writer.write(reply)


@asynccontextmanager
async def open_scripted(answer: Callable[[list[bytes]], bytes | None]) -> AsyncIterator[ScriptedServer]:
    scripted = ScriptedServer(answer)
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            await scripted.serve(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client was done, or the test is; asyncio trips over a handler that ends cancelled
        finally:
            writer.transport.abort()
            handlers.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    scripted.port = server.sockets[0].getsockname()[1]
    try:
        yield scripted
    finally:
        server.close()
        for task in list(handlers):
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        await asyncio.sleep(0)
