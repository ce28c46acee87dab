"""A wire to a server that can be cut, or go dead without a word: TCP alone, it knows nothing of what passes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Wire:
    """What is connected through it, and what becomes of that."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.port = 0
        self.connections = 0
        """How many were ever made."""
        self._target = target
        self._is_dead = False
        self._silent: set[asyncio.StreamWriter] = set()
        self._ends: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def die(self) -> None:
        """From now on nothing passes, either way, and nothing is closed: both ends wait for each other."""
        self._is_dead = True
        self._silent |= self._ends

    def heal(self) -> None:
        """Connections that are made from now on work; those that were silenced stay so."""
        self._is_dead = False

    def cut(self) -> None:
        """Reset every connection."""
        for end in self._ends:
            end.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, up_writer}
        self._ends |= ends
        if self._is_dead:
            self._silent |= ends
        try:
            passing = [
                asyncio.create_task(self._pass(reader, up_writer)),
                asyncio.create_task(self._pass(up_reader, writer)),
            ]
            await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
            for task in passing:
                task.cancel()
            await asyncio.gather(*passing, return_exceptions=True)
        finally:
            for end in ends:
                end.transport.abort()
            self._ends -= ends
            self._silent -= ends

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            if writer not in self._silent:
                writer.write(data)


@asynccontextmanager
async def open_wire(target: tuple[str, int]) -> AsyncIterator[Wire]:
    """A wire that is there for as long as a block lasts."""
    wire = Wire(target)
    handlers: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        try:
            await wire.serve(reader, writer)
        except asyncio.CancelledError:
            pass  # the test is over; asyncio's own callback trips over a handler that ends cancelled
        finally:
            handlers.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        server.close()
        wire.cut()
        for task in list(handlers):
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        await asyncio.sleep(0)
