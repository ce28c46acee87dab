"""The mail of a run, and the calls that wait for it: who gets what is decided by the numbers of the mail alone.

Mail with an address for which nobody waits stays where it is, here and in the store: it is taken there only by the
commit that puts it into the run's record.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from redisflow.mail import ANY_CHILD, Mail, address_of

if TYPE_CHECKING:
    from redisflow.engine.calls import OpenMailCall


class Mailbox:
    """Of one run, in the hands of its holder."""

    __slots__ = ("_calls", "_mail", "_ready", "is_used", "seen")

    def __init__(self) -> None:
        """Nothing has come, and nobody waits."""
        self.seen = 0
        """Number of the last mail that is known here."""
        self.is_used = False
        """Whether the code has ever waited for mail on this pass."""
        self._mail: dict[str, deque[Mail]] = {}
        self._calls: dict[str, deque[OpenMailCall]] = {}
        self._ready: list[tuple[int, str]] = []
        """Numbers and addresses where there may be both mail and a call."""

    def put(self, mail: Iterable[Mail], last: int) -> None:
        """All that has come up to number `last`, in the order of its numbers; what is known already is passed over."""
        for one in mail:
            if one.number > self.seen:
                self.seen = one.number
                address = address_of(one)
                waiting = self._mail.setdefault(address, deque())
                waiting.append(one)
                if len(waiting) == 1:
                    self._look_at(address)
        self.seen = max(self.seen, last)

    def listen(self, call: OpenMailCall) -> None:
        """This call waits for the next mail with its address."""
        self.is_used = True
        self._calls.setdefault(call.address, deque()).append(call)
        self._look_at(call.address)

    def take(self) -> tuple[Mail, OpenMailCall] | None:
        """The first mail that a call waits for, and the call that has waited longest for it."""
        while self._ready:
            _, address = heapq.heappop(self._ready)
            call = self._first_call(address)
            mail = self._mail.get(address)
            if call is None or not mail:
                continue
            self._calls[address].popleft()
            taken = mail.popleft()
            if not mail:
                del self._mail[address]
            self._look_at(address)
            return taken, call
        return None

    def has(self, address: str) -> bool:
        """Whether there is mail with this address."""
        return address in self._mail

    def wants(self) -> str:
        """What wakes the run once it is parked: addresses, each between line breaks; empty where nothing does."""
        wanted = {ANY_CHILD if call.kind == "child" else address for address, call in self._open_calls()}
        return "\n" + "\n".join(sorted(wanted)) + "\n" if wanted else ""

    def from_children(self) -> list[int]:
        """Numbers of what children have sent and nobody has taken."""
        return [one.number for waiting in self._mail.values() for one in waiting if one.kind == "child"]

    def waits_for(self) -> str | None:
        """The kind of the call that was made first among those that wait; None where none does."""
        first = min((call for _, call in self._open_calls()), key=lambda call: call.ordinal, default=None)
        return None if first is None else first.kind

    def clear(self) -> None:
        """Let go of all calls."""
        self._calls.clear()
        self._mail.clear()
        self._ready.clear()

    def _open_calls(self) -> Iterable[tuple[str, OpenMailCall]]:
        for address in list(self._calls):
            call = self._first_call(address)
            if call is not None:
                yield address, call

    def _first_call(self, address: str) -> OpenMailCall | None:
        calls = self._calls.get(address)
        while calls and calls[0].state != "waiting":
            calls.popleft()
        if not calls:
            self._calls.pop(address, None)
            return None
        return calls[0]

    def _look_at(self, address: str) -> None:
        mail = self._mail.get(address)
        if mail and address in self._calls:
            heapq.heappush(self._ready, (mail[0].number, address))
