"""What becomes of a call: a rule names calls and their fate, and remembers how often it was met."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from redisflow.testing.faults.calls import CallSelector, SeenCall

Direction: TypeAlias = Literal["requests", "replies", "both"]


class Kind(enum.Enum):
    """What is done."""

    PASS = enum.auto()
    DROP_REQUEST = enum.auto()
    DROP_REPLY = enum.auto()
    DUPLICATE = enum.auto()
    HOLD = enum.auto()
    ANSWER = enum.auto()
    ANSWER_AFTER = enum.auto()
    BLACKHOLE = enum.auto()


class Ending(enum.Enum):
    """How the connection goes on, or not."""

    SILENT = "it stays open, and nothing more passes"
    CLOSE = "it is closed"
    RESET = "it is reset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What is done to a call, and with what."""

    kind: Kind
    ending: Ending = Ending.CLOSE
    reply: bytes = b""
    seconds: float | None = None
    direction: Direction = "both"


PASS = Fate(kind=Kind.PASS)


class Rule:
    """A rule of a proxy. It is made by what `proxy.on(...)` returns."""

    def __init__(self, selector: CallSelector, fate: Fate) -> None:
        """Not met yet."""
        self.fate = fate
        self.fired = 0
        """How often it was carried out."""
        self._selector = selector
        self._seen = 0
        self._fired = asyncio.Event()
        self._released = asyncio.Event()

    def meets(self, seen: SeenCall) -> bool:
        """Whether this call is to have its fate; each call is asked about once."""
        if not self._selector.fits(seen):
            return False
        self._seen += 1
        if self._selector.nth is not None and self._seen != self._selector.nth:
            return False
        self.fired += 1
        self._fired.set()
        return True

    async def wait(self) -> None:
        """Until it has been carried out for the first time."""
        await self._fired.wait()

    def release(self) -> None:
        """Let go what it holds, and hold nothing more."""
        self._released.set()

    async def hold(self) -> None:
        """For as long as it says, or until it is released."""
        try:
            async with asyncio.timeout(self.fate.seconds):
                await self._released.wait()
        except TimeoutError:
            return


class Trigger:
    """The calls that a rule is about; each method makes the rule.

    The bytes of a connection do not overtake one another. So what drops or holds a call does the same to everything
    behind it on its connection, in that direction. What was sent before it is answered first.
    """

    def __init__(self, selector: CallSelector, add: Callable[[Rule], Rule]) -> None:
        """Made by `Proxy.on`."""
        self._selector = selector
        self._add = add

    def _rule(self, fate: Fate) -> Rule:
        return self._add(Rule(self._selector, fate))

    def drop_request(self, *, close: bool = True) -> Rule:
        """The server never sees it. The connection is closed, or stays open and silent."""
        return self._rule(Fate(kind=Kind.DROP_REQUEST, ending=Ending.CLOSE if close else Ending.SILENT))

    def drop_reply(self, *, close: bool = True) -> Rule:
        """It is executed, and nobody hears of it. The connection is closed, or stays open and silent."""
        return self._rule(Fate(kind=Kind.DROP_REPLY, ending=Ending.CLOSE if close else Ending.SILENT))

    def duplicate(self) -> Rule:
        """The server gets it twice; its second answer is swallowed."""
        return self._rule(Fate(kind=Kind.DUPLICATE))

    def delay(self, seconds: float) -> Rule:
        """It reaches the server so much later, even where its client has gone meanwhile."""
        return self._rule(Fate(kind=Kind.HOLD, seconds=seconds))

    def hold(self) -> Rule:
        """The same, until `rule.release()`."""
        return self._rule(Fate(kind=Kind.HOLD))

    def answer(self, error: str) -> Rule:
        """It is refused with these words (`OOM command not allowed`), and not executed."""
        return self._rule(Fate(kind=Kind.ANSWER, reply=_error(error)))

    def answer_after(self, error: str) -> Rule:
        """It is executed, and its answer is these words instead of the server's."""
        return self._rule(Fate(kind=Kind.ANSWER_AFTER, reply=_error(error)))

    def reset_before(self) -> Rule:
        """The connection is reset (RST) instead of passing it on."""
        return self._rule(Fate(kind=Kind.DROP_REQUEST, ending=Ending.RESET))

    def reset_after(self) -> Rule:
        """It is executed, and the connection is reset (RST) instead of passing its answer on."""
        return self._rule(Fate(kind=Kind.DROP_REPLY, ending=Ending.RESET))

    def blackhole(self, direction: Direction = "both") -> Rule:
        """From this call on nothing passes, on any connection, until `proxy.heal()`; nothing is closed."""
        return self._rule(Fate(kind=Kind.BLACKHOLE, direction=direction))


def _error(words: str) -> bytes:
    if "\r" in words or "\n" in words:
        msg = "the words of a refusal are one line"
        raise ValueError(msg)
    return f"-{words}\r\n".encode()
