"""A server inside this process: the same scripts, run by fakeredis.

Every `memory://name` of a process is one server, also from several event loops and threads. Nothing is kept beyond the
process. The hard thing is to block without a server to block on: whoever waits is woken after each call that may have
changed something.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from redisflow.backend.channels import Listener
from redisflow.errors import BackendError, BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redisflow.backend.batch import Parse
    from redisflow.backend.connect import Target
    from redisflow.backend.scripts import Scripts
    from redisflow.backend.wire import Command

_WRITERS = frozenset({"EVALSHA", "EVAL", "LPUSH"})


class MemoryStore:
    """One fakeredis server, and who is to be woken when it changes."""

    def __init__(self) -> None:
        """Made by `store_named`."""
        try:
            import fakeredis  # noqa: PLC0415  # an extra that only memory:// needs
        except ImportError as error:
            msg = "memory:// needs fakeredis: pip install 'redisflow[memory]'"
            raise BackendError(msg) from error
        self._server = fakeredis.FakeServer(version=(7,))
        self._open = functools.partial(fakeredis.FakeRedisConnection, server=self._server, protocol=2)
        self._lock = threading.RLock()
        self._connection = self.connect()
        self._wakers: list[Callable[[], None]] = []

    def connect(self) -> Any:
        """A connection of its own, for subscriptions."""
        connection = self._open()
        connection.connect()
        return connection

    def run(self, command: Command) -> Any:
        """Its reply; the errors are redis-py's."""
        with self._lock:
            self._connection.send_command(*command)
            try:
                return self._connection.read_response()
            finally:
                if command[0] in _WRITERS:
                    for wake in tuple(self._wakers):
                        wake()

    def watch(self, wake: Callable[[], None]) -> None:
        """Call `wake` after each change, from the thread that made it."""
        with self._lock:
            self._wakers.append(wake)

    def unwatch(self, wake: Callable[[], None]) -> None:
        """Call it no more."""
        with self._lock:
            self._wakers.remove(wake)


_stores: dict[str, MemoryStore] = {}
_stores_lock = threading.Lock()


def store_named(name: str) -> MemoryStore:
    """The server of this name in this process."""
    with _stores_lock:
        if name not in _stores:
            _stores[name] = MemoryStore()
        return _stores[name]


class MemoryServer:
    """A transport to a server inside this process."""

    def __init__(self, target: Target) -> None:
        """Make it inside the event loop that it serves."""
        self._target = target
        self._loop = asyncio.get_running_loop()
        self._store = store_named(target.name)
        self._texts: dict[str, str] = {}
        self._changed = asyncio.Event()
        self._subscription: Any = None
        self._listeners: dict[bytes, list[Listener]] = {}
        self._closed = False
        self._store.watch(self._wake)

    @property
    def masked_url(self) -> str:
        """As it may be shown."""
        return self._target.masked

    @property
    def trouble(self) -> str:
        """It always answers."""
        return ""

    async def load(self, scripts: Scripts) -> None:
        """Make the server know the scripts."""
        self._texts.update((script.sha, script.text) for script in scripts)
        for script in scripts:
            self._store.run(("SCRIPT", "LOAD", script.text))

    def send(
        self, prefix: str, command: Command, parse: Parse | None = None, *, bulk: bool = False
    ) -> asyncio.Future[Any]:
        """Run a command, later in this turn of the loop: what another server does takes a turn, too."""
        del prefix, bulk
        future = self._loop.create_future()
        self._loop.call_soon(self._run, future, command, parse)
        return future

    def _run(self, future: asyncio.Future[Any], command: Command, parse: Parse | None) -> None:
        if future.done():
            return
        if self._closed:
            future.set_exception(BackendUnavailable(f"{self.masked_url} was closed"))
            return
        try:
            reply = run_script(self._store, command, self._texts, self.masked_url)
            future.set_result(reply if parse is None else parse(reply))
        except Exception as error:  # noqa: BLE001  # whatever it is, it belongs to the caller
            future.set_exception(error)

    async def pop(self, prefix: str, keys: Sequence[str], timeout_s: float) -> bool:
        """Wait for a token in one of the keys, and take it."""
        del prefix
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    self._changed.clear()
                    if any(self._store.run(("LPOP", key)) is not None for key in keys):
                        return True
                    await self._changed.wait()
                    if self._closed:
                        msg = f"{self.masked_url} was closed"
                        raise BackendUnavailable(msg)
        except TimeoutError:
            return False

    def _wake(self) -> None:
        """From whichever thread changed something."""
        self._loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        # Each pop clears the event before it looks, so all who wait at this moment are woken.
        self._changed.set()
        while self._subscription is not None and self._subscription.can_read():
            kind, channel, payload = self._subscription.read_response()
            if kind == b"smessage":
                for listener in tuple(self._listeners.get(channel, ())):
                    listener(payload)

    def subscribe(self, prefix: str, channel: str, listener: Listener) -> asyncio.Future[None]:
        """Listen to a channel."""
        del prefix
        if self._subscription is None:
            self._subscription = self._store.connect()
        listeners = self._listeners.setdefault(channel.encode(), [])
        if not listeners:
            self._subscription.send_command("SSUBSCRIBE", channel)
        listeners.append(listener)
        confirmed = self._loop.create_future()
        confirmed.set_result(None)
        return confirmed

    def unsubscribe(self, prefix: str, channel: str, listener: Listener) -> None:
        """Stop listening."""
        del prefix
        listeners = self._listeners.get(channel.encode(), [])
        if listener in listeners:
            listeners.remove(listener)
            if not listeners:
                del self._listeners[channel.encode()]
                self._subscription.send_command("SUNSUBSCRIBE", channel)

    def open_calls(self) -> MemoryCalls:
        """For a thread."""
        return MemoryCalls(self._store, self._texts, self.masked_url)

    async def close(self) -> None:
        """Let go of the server; it stays."""
        if not self._closed:
            self._closed = True
            self._store.unwatch(self._wake)
            self._changed.set()
            if self._subscription is not None:
                self._subscription.disconnect()
            await asyncio.sleep(0)


class MemoryCalls:
    """Calls from a thread."""

    def __init__(self, store: MemoryStore, texts: dict[str, str], masked_url: str) -> None:
        """Made by `MemoryServer.open_calls`."""
        self._store = store
        self._texts = texts
        self._masked_url = masked_url

    def call(self, prefix: str, command: Command) -> Any:
        """Its reply."""
        del prefix
        return run_script(self._store, command, self._texts, self._masked_url)

    def close(self) -> None:
        """Nothing to close."""


def run_script(store: MemoryStore, command: Command, texts: dict[str, str], masked_url: str) -> Any:
    """The reply; BackendError where it is a refusal."""
    from redis import exceptions  # noqa: PLC0415  # with fakeredis, above

    try:
        try:
            return store.run(command)
        except exceptions.NoScriptError:
            return store.run(("EVAL", texts[command[1]], *command[2:]))
    except exceptions.RedisError as error:
        msg = f"{masked_url} refused: {error}"
        raise BackendError(msg) from None
