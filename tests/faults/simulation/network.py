"""The simulated network, and the server's side of it: connections, latencies, blocked pops, subscriptions.

A connection keeps its order in both directions, as TCP does; between connections everything may overtake everything.
What is written takes a while until it arrives, and then it is executed on the real server, one call after another; the
reply takes a while again. Faults strike here: `Weather` says which.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from hashlib import sha1
from typing import Any, Protocol

import hiredis

from redisflow.backend.scripts import load_scripts
from redisflow.backend.wire import Refusal
from tests.faults.simulation.loop import Process, SimulatedLoop, current_process
from tests.faults.simulation.real_server import Execution, RealServer, encode

EXECUTION_S = 20e-6
"""How long the server takes for a call, so that those of others may come between two of a batch."""
IN_ORDER_S = 1e-7
"""Between two messages of a connection: timers of the same instant come in no order."""


class Weather(Protocol):
    """What becomes of messages. Each question is asked once for each message."""

    def latency_s(self, process: Process) -> float:
        """How long a message is on its way."""
        ...

    def breaks(self, process: Process, names: Sequence[str]) -> str:
        """What becomes of something that was written just now, by the names of its calls.

        "" | "request": it is lost with the connection | "reply": it is executed, and then the connection is lost
        """
        ...

    def ghost_s(self) -> float | None:
        """When, after its connection is gone, a call still arrives; None where it never does."""
        ...

    def refusal(self, name: str, process: Process) -> str:
        """Error reply instead of the execution; "" for none."""
        ...

    def is_cut_off(self, process: Process) -> bool:
        """Whether it cannot connect at present."""
        ...


class Connection(asyncio.Transport):
    """The client's end of a connection, and what the server knows of it."""

    def __init__(self, network: Network, process: Process, protocol: Any, number: int) -> None:
        super().__init__()
        self.network = network
        self.process = process
        self.number = number
        self.protocol = protocol
        self.is_open = True
        """As the server sees it."""
        self.is_lost = False
        """As the client sees it."""
        self.channels: set[str] = set()
        self._parser = hiredis.Reader()
        self._arrives_s = self._answers_s = 0.0
        self._in_flight: list[tuple[asyncio.TimerHandle, list[bytes]]] = []
        process.connections.append(self)

    def write(self, data: Any) -> None:
        if self.is_lost:
            return
        self._parser.feed(bytes(data))
        network, loop = self.network, self.network.loop
        names: list[str] = []
        self._arrives_s = max(self._arrives_s, loop.time() + network.weather.latency_s(self.process))
        while (command := self._parser.gets()) is not False:
            self._arrives_s += EXECUTION_S
            names.append(network.server.name_of(command))
            timer = loop.call_at(self._arrives_s, self._arrive, command, context=network.context)
            self._in_flight.append((timer, command))
        fate = network.weather.breaks(self.process, names)
        if fate == "request":
            loop.call_at(loop.time() + network.weather.latency_s(self.process), self.cut, context=network.context)
        elif fate == "reply":
            loop.call_at(self._arrives_s + EXECUTION_S / 2, self.cut, context=network.context)

    def _arrive(self, command: list[bytes]) -> None:
        del self._in_flight[0]
        self.network.server.handle(self, command)

    def answer(self, reply: Any) -> None:
        """From the server."""
        if self.is_lost or not self.is_open:
            return
        loop = self.network.loop
        self._answers_s = max(self._answers_s + IN_ORDER_S, loop.time() + self.network.weather.latency_s(self.process))
        loop.call_at(self._answers_s, self._receive, encode(reply), context=self.process.context)

    def _receive(self, data: bytes) -> None:
        if not self.is_lost:
            self.protocol.data_received(data)

    def cut(self) -> None:
        """The connection breaks; each side hears of it, and what is on its way is lost, or comes late."""
        if self.is_lost:
            return
        self._leave_ghosts()
        self.is_lost = True
        error = ConnectionResetError("the connection was reset")
        self.network.loop.call_soon(self.protocol.connection_lost, error, context=self.process.context)

    def abort(self) -> None:
        """The client gives it up."""
        if self.is_lost:
            return
        self._leave_ghosts()
        self.is_lost = True
        self.network.loop.call_soon(self.protocol.connection_lost, None, context=self.process.context)

    def _leave_ghosts(self) -> None:
        network = self.network
        in_flight, self._in_flight = self._in_flight, []
        late_s = network.weather.ghost_s()
        for timer, command in in_flight:
            timer.cancel()
            if late_s is not None:
                late_s += EXECUTION_S
                at_s = max(timer.when(), network.loop.time()) + late_s
                network.loop.call_at(at_s, network.server.handle, self, command, context=network.context)
        closes_s = network.loop.time() + network.weather.latency_s(self.process)
        network.loop.call_at(closes_s, network.server.forget, self, context=network.context)

    def close(self) -> None:
        self.abort()

    def is_closing(self) -> bool:
        return self.is_lost

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class Network:
    """Of one simulation."""

    def __init__(self, loop: SimulatedLoop, weather: Weather, server: Server) -> None:
        self.loop = loop
        self.weather = weather
        self.server = server
        self.context = server.context
        self._numbers = 0
        loop.network = self

    async def connect(self, protocol_factory: Callable[[], Any]) -> tuple[Connection, Any]:
        process = current_process()
        await asyncio.sleep(self.weather.latency_s(process))
        if self.weather.is_cut_off(process):
            raise ConnectionRefusedError("connection refused")
        self._numbers += 1
        protocol = protocol_factory()
        connection = Connection(self, process, protocol, self._numbers)
        protocol.connection_made(connection)
        return connection, protocol

    def process_died(self, process: Process) -> None:
        """The system closes what it had open."""
        for connection in process.connections:
            connection.cut()


class Pop:
    """A blocked pop."""

    def __init__(self, connection: Connection, keys: Sequence[bytes]) -> None:
        self.connection = connection
        self.keys = keys
        self.timer: asyncio.TimerHandle | None = None


class Server:
    """What the server knows beyond its data: scripts, who is blocked, who is subscribed. Calls run on the real one."""

    def __init__(
        self,
        loop: SimulatedLoop,
        real: RealServer,
        clock_ms: Callable[[], int],
        executed: Callable[[Execution, Connection], None],
    ) -> None:
        self._loop = loop
        self._real = real
        self.clock_ms = clock_ms
        self._executed = executed
        self.context = Process(loop, "network").context
        self.knows: set[bytes] = set()
        self._texts = {script.sha.encode(): script.text for script in load_scripts()}
        self._pops: list[Pop] = []
        self._subscribers: dict[str, list[Connection]] = {}

    def name_of(self, command: Sequence[bytes]) -> str:
        """Of the script, or the command."""
        if command[0] == b"EVALSHA":
            return self._real.names[self._texts[command[1]]]
        return command[0].decode().lower()

    def know_all(self) -> None:
        """As if each script had been called before."""
        self.knows = set(self._texts)

    def flush_scripts(self) -> None:
        self.knows.clear()

    def forget(self, connection: Connection) -> None:
        """Its connection is closed."""
        connection.is_open = False
        self._pops = [pop for pop in self._pops if pop.connection is not connection]
        for subscribers in self._subscribers.values():
            if connection in subscribers:
                subscribers.remove(connection)

    def handle(self, connection: Connection, command: list[bytes]) -> None:
        """A call has arrived."""
        verb = command[0]
        weather = connection.network.weather
        if verb == b"BLPOP":
            self._pop(connection, command)
        elif verb in (b"SSUBSCRIBE", b"SUNSUBSCRIBE"):
            self._subscribe(connection, command)
        elif verb == b"PING":
            connection.answer([b"pong", b""] if connection.channels else b"PONG")
        elif verb in (b"INFO", b"CONFIG"):
            connection.answer(self._real.ask(tuple(command)))
        elif verb == b"SCRIPT":
            sha = sha1(command[2], usedforsecurity=False).hexdigest().encode()
            self.knows.add(sha)
            connection.answer(sha)
        elif verb in (b"EVALSHA", b"EVAL"):
            sha = command[1] if verb == b"EVALSHA" else sha1(command[1], usedforsecurity=False).hexdigest().encode()
            text = self._texts[sha]
            refusal = weather.refusal(self._real.names[text], connection.process)
            if refusal:
                connection.answer(Refusal(refusal))
            elif verb == b"EVALSHA" and sha not in self.knows:
                connection.answer(Refusal("NOSCRIPT No matching script. Please use EVAL."))
            else:
                self.knows.add(sha)
                done = self._real.run_text(text, command[3], command[4:], self.clock_ms())
                self._done(done, connection)
        else:
            refusal = weather.refusal(verb.decode().lower(), connection.process)
            if refusal:
                connection.answer(Refusal(refusal))
            elif verb == b"SCAN":  # all at once, and in an order that no hash seed decides
                connection.answer([b"0", sorted(self._real.ask(("KEYS", command[3])))])
            else:
                self._done(self._real.run_command(command, self.clock_ms()), connection)

    def _done(self, done: Execution, connection: Connection) -> None:
        self._executed(done, connection)
        connection.answer(done.reply)
        self.after(done)

    def after(self, done: Execution) -> None:
        """What a call sets off: messages to subscribers, tokens for those who are blocked."""
        for channel, message in done.said:
            for subscriber in tuple(self._subscribers.get(channel, ())):
                subscriber.answer([b"smessage", channel.encode(), message])
        for change in done.changes:
            if change.kind == "list" and self._pops:
                key = change.key.encode()
                while waiting := next((pop for pop in self._pops if key in pop.keys), None):
                    if not self._take(waiting.connection, key):
                        break
                    self._end(waiting)

    def _pop(self, connection: Connection, command: list[bytes]) -> None:
        keys, timeout_s = command[1:-1], float(command[-1])
        for key in keys:
            if self._take(connection, key):
                return
        pop = Pop(connection, keys)
        self._pops.append(pop)
        pop.timer = self._loop.call_later(timeout_s, self._pop_in_vain, pop, context=self.context)

    def _take(self, connection: Connection, key: bytes) -> bool:
        done = self._real.run_command([b"LPOP", key], self.clock_ms())
        self._executed(done, connection)
        if done.reply is None:
            return False
        connection.answer([key, done.reply])
        return True

    def _pop_in_vain(self, pop: Pop) -> None:
        if pop in self._pops:
            self._end(pop)
            pop.connection.answer(None)

    def _end(self, pop: Pop) -> None:
        self._pops.remove(pop)
        if pop.timer is not None:
            pop.timer.cancel()

    def _subscribe(self, connection: Connection, command: list[bytes]) -> None:
        for name in command[1:]:
            channel = name.decode()
            subscribers = self._subscribers.setdefault(channel, [])
            if command[0] == b"SSUBSCRIBE":
                connection.channels.add(channel)
                if connection not in subscribers:
                    subscribers.append(connection)
            else:
                connection.channels.discard(channel)
                if connection in subscribers:
                    subscribers.remove(connection)
            connection.answer([command[0].lower(), name, len(connection.channels)])
