"""What left on a connection in one write, and what has come of it: calls, and the seal that they end with.

Without a seal each call is answered by its own reply at once; with one all of them wait for the seal's replies, which
say whether theirs can be believed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from redisflow.backend.wire import Command, Refusal

if TYPE_CHECKING:
    from redisflow.backend.acknowledgements import Seal

Parse: TypeAlias = Callable[[Any], Any]
Call: TypeAlias = tuple["asyncio.Future[Any]", Parse | None, bytes, Command]

# What a server answers to a seal when it has become a replica, or is cut off from the rest of its cluster.
_DEMOTED = frozenset({"CLUSTERDOWN", "MASTERDOWN", "UNBLOCKED"})
_NO_PRIMARY = "WAIT cannot be used with replica"


class Batch:
    """What left in one write, and what has come of it."""

    __slots__ = ("answered", "calls", "owed", "replies", "seal")

    def __init__(self, calls: list[Call | None], seal: Seal | None) -> None:
        """`seal` is what it ends with."""
        self.calls = calls
        """None in the place of one that is another's now."""
        self.seal = seal
        self.owed = len(calls) if seal is None else len(calls) + len(seal.packed)
        self.answered = 0
        self.replies: list[Any] = []
        """Those to the calls, then those to the seal; without one a call is answered at once."""

    def next_call(self) -> Call | None:
        """The call whose reply is there; None where it is the seal's."""
        return self.calls[self.answered] if self.answered < len(self.calls) else None

    def give_away(self) -> Call | None:
        """The same, for somebody else to care for."""
        call = self.next_call()
        if call is not None:
            self.calls[self.answered] = None
        return call

    def is_demotion(self, refusal: Refusal) -> bool:
        """Whether another server is to be looked for: this one is a replica by now, or has no room.

        To a call, being unblocked is no more than not executed; to the seal, those before it were.
        """
        if refusal.code == "READONLY" or refusal.has_no_room:
            return True
        is_of_seal = self.answered >= len(self.calls)
        return is_of_seal and (refusal.code in _DEMOTED or _NO_PRIMARY in refusal.words)

    def take(self, reply: Any) -> bool:
        """The next reply; whether it was the last one."""
        if self.seal is not None:
            self.replies.append(reply)
        elif (call := self.calls[self.answered]) is not None:
            answer(call, reply)
        self.answered += 1
        return self.answered == self.owed


def answer(call: Call, reply: Any) -> None:
    """Give a call its reply, as it wants it; a future that is done is passed over."""
    future, parse = call[0], call[1]
    if future.done():
        return
    if parse is None:
        future.set_result(reply)
        return
    try:
        value = parse(reply)
    except Exception as error:  # noqa: BLE001  # whatever it is, it belongs to the caller of this one call
        future.set_exception(error)
    else:
        future.set_result(value)
