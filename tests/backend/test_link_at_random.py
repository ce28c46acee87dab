"""Links to servers that refuse, cut and keep silent at random: each call is answered once, with its own answer."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from redisflow.backend.acknowledgements import Acknowledgements
from redisflow.backend.batch import Call
from redisflow.backend.connect import read_url
from redisflow.backend.link import Link
from redisflow.backend.outage import OutageLog
from redisflow.backend.scripts import load_scripts
from redisflow.backend.single import ServerEndpoint
from redisflow.durability import Durability
from tests.backend.scripted import ScriptedServer, open_scripted

SCRIPTS = load_scripts()
LASTING, PASSING = SCRIPTS.create_run.sha, SCRIPTS.claim_runs.sha
PREFIXES = ["rf:{shop:0}:", "rf:{shop:1}:"]
CALLS = 150
REFUSALS = [
    "NOSCRIPT No matching script",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "READONLY You can't write against a read only replica",
    "MOVED 1 127.0.0.1:1",
    "CLUSTERDOWN The cluster is down",
]
OF_SEALS = ["READONLY You can't write", "MOVED 1 127.0.0.1:1", "CLUSTERDOWN The cluster is down", "OOM used memory"]
OF_WAITS = ["UNBLOCKED force unblock", "ERR WAIT cannot be used with replica instances"]


class Node:
    """What a server with moods does. All nodes of a test have one memory, as if they were one after the other."""

    def __init__(self, chance: random.Random, memory: dict[bytes, int], *, moves: bool) -> None:
        self.chance = chance
        self.moves = moves
        self.memory = memory
        self.hard = 4
        """How often it still hangs up, keeps silent, or is no primary: a batch of a hundred has to get through."""
        self.calm = False
        self.server: Any = None
        self.log: list[tuple[object, bytes]] = []
        """Connection and id of each call that was executed, or refused."""
        self.refused: set[bytes] = set()
        self.counted: set[bytes] = set()
        """Calls behind which the count of their partition came, on the same connection."""
        self._mute: set[object] = set()
        self._open: dict[object, dict[bytes, list[bytes]]] = {}

    def answer(self, command: list[bytes]) -> bytes | None:
        chance, connection = self.chance, asyncio.current_task()  # each connection has its own
        mood = 1.0 if self.calm else chance.random()
        if mood < 0.013 and self._is_hard():
            if mood < 0.01:
                self.server.drop()
            self._mute.add(connection)  # until the link has had enough of it
        if connection in self._mute:
            return None
        word = command[0]
        if word in (b"EVALSHA", b"EVAL"):
            ident = command[4]
            self.log.append((connection, ident))
            if mood < 0.08:
                refusal = chance.choice(REFUSALS)
                if self._may_say(refusal, word):
                    self.refused.add(ident)
                    return f"-{refusal}\r\n".encode()
            self._open.setdefault(connection, {}).setdefault(command[3], []).append(ident)
            return b"+" + ident + b"\r\n"
        if word == b"INCR":
            if mood < 0.08 and self._is_hard():
                return f"-{chance.choice(OF_SEALS)}\r\n".encode()
            prefix = _prefix(command)
            self.counted.update(self._open.get(connection, {}).pop(prefix, []))
            self.memory[prefix] = self.memory.get(prefix, 0) + 1
            return b":%d\r\n" % self.memory[prefix]
        if word == b"WAIT":
            if mood < 0.05 and self._is_hard():
                return f"-{chance.choice(OF_WAITS)}\r\n".encode()
            return b":%d\r\n" % (mood > 0.2)
        if word == b"GET":
            return b"$-1\r\n" if (number := self.memory.get(_prefix(command))) is None else b"+%d\r\n" % number
        return b":1\r\n"

    def _may_say(self, refusal: str, word: bytes) -> bool:
        match refusal.partition(" ")[0]:
            case "NOSCRIPT":
                return word == b"EVALSHA"
            case "READONLY":
                return self._is_hard()
            case "MOVED":
                return self.moves
            case _:
                return True

    def _is_hard(self) -> bool:
        self.hard -= 1
        return self.hard >= 0


def _prefix(command: list[bytes]) -> bytes:
    return command[1][: command[1].index(b"}") + 2]


class Callers:
    """Sends calls, and counts what comes of them."""

    def __init__(self, chance: random.Random, links: list[Link]) -> None:
        self.chance = chance
        self.first, self.second = links
        self.sent: list[tuple[bytes, bool, asyncio.Future[Any]]] = []
        self.answers: Counter[bytes] = Counter()

    def send(self, number: int) -> None:
        ident, is_lasting = b"%d" % number, self.chance.random() < 0.7
        sha = LASTING if is_lasting else PASSING
        future = self.first.send(("EVALSHA", sha, "1", self.chance.choice(PREFIXES), ident))
        future.add_done_callback(lambda _: self.answers.update([ident]))
        self.sent.append((ident, is_lasting, future))

    async def trouble(self, *, moves: bool) -> None:
        """Now and then, what their links have to live with."""
        chance = self.chance
        if chance.random() < 0.3:
            await asyncio.sleep(0 if chance.random() < 0.8 else 0.005)
        if chance.random() < 0.02:
            chance.choice(self.sent)[2].cancel()
        if chance.random() < 0.01:
            self.first.leave("a whim")
        if moves and chance.random() < 0.01 and (calls := self.first.give_up()):
            self.second.adopt(calls)


def connect(servers: list[ScriptedServer], acks: Acknowledgements) -> list[Link]:
    """A link to each; what one sends elsewhere goes to the other."""
    targets = [read_url(server.url) for server in servers]
    texts = {LASTING: "text", PASSING: "text"}
    first, second = (
        Link(ServerEndpoint(target), OutageLog(target.masked), texts=texts, stall_s=0.1, acks=acks)
        for target in targets
    )

    def lead(there: Link) -> Callable[[Call, str], None]:
        return lambda call, _: void(asyncio.get_running_loop().call_soon(there.adopt, [call]))

    first.on_redirect, second.on_redirect = lead(second), lead(first)
    return [first, second]


def void(_: object) -> None:
    pass


@pytest.mark.parametrize("moves", [False, True])
@pytest.mark.parametrize("level", ["redis", "replicated"])
@pytest.mark.parametrize("seed", range(3))
async def test_each_call_is_answered_once_and_with_its_own_answer(seed, level, moves):
    chance = random.Random(seed)
    acks = Acknowledgements(SCRIPTS, "redis://somewhere", Durability(level=level, timeout="20ms"))
    memory: dict[bytes, int] = {}
    nodes = [Node(chance, memory, moves=moves) for _ in range(2)]
    async with open_scripted(nodes[0].answer) as first, open_scripted(nodes[1].answer) as second:
        nodes[0].server, nodes[1].server = first, second
        links = connect([first, second], acks)
        callers = Callers(chance, links)
        for number in range(CALLS):
            callers.send(number)
            await callers.trouble(moves=moves)
        async with asyncio.timeout(60):
            await asyncio.wait({future for _, _, future in callers.sent})
            for node in nodes:
                node.calm = True
            # Whatever the links went through, they are as good as new.
            for link in links:
                assert await link.send(("EVALSHA", LASTING, "1", PREFIXES[0], b"last")) == b"last"
        for link in links:
            await link.close()
    assert nodes[0].refused
    for ident, is_lasting, future in callers.sent:
        assert callers.answers[ident] == 1
        if not future.cancelled():
            assert future.result() == ident
            if is_lasting and getattr(future, "is_confirmed", False):
                assert any(ident in node.counted for node in nodes)
    assert acks.losses == 0
    if not moves:
        assert_in_order(nodes[0])


def assert_in_order(node: Node) -> None:
    """On each connection, but for those that were refused."""
    assert node.log
    for connection in {connection for connection, _ in node.log}:
        executed = [ident for at, ident in node.log if at is connection and ident not in node.refused]
        order = [int(ident) for ident in executed if ident != b"last"]
        assert order == sorted(order)
