"""What workflow code says to the outside, events and state: each thing once, whatever the number of passes.

What is said has a place that is the same on every pass: the number of the last record that the code had been given, and
a count from there. The store remembers the place up to which all is stored; what comes again is dropped. The hard thing
is a workflow that is tried again: it comes to old places first, and says the same there; but from where the failed
attempt went astray it is on new ground, although some of the records that it is given there are old.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redisflow.contract import NOTHING_SAID, STATE_KEYS, Place, Saying

if TYPE_CHECKING:
    from redisflow.engine.history import Restart

OUTPUTS_PER_COMMIT = 100
BYTES_PER_COMMIT = 256 * 1024


@dataclass(slots=True)
class Output:
    """One event, or one change of the state."""

    after: int
    """How many records come before it."""
    place: Place
    is_event: bool
    name: str
    data: bytes


class Outputs:
    """Of one run, in the hands of its holder."""

    __slots__ = ("_keys", "_place", "_room", "_stored", "new")

    def __init__(self, stored: Place) -> None:
        """All up to `stored` was said on earlier passes."""
        self.new: deque[Output] = deque()
        """What is on no commit yet."""
        self._stored = stored
        self._place = NOTHING_SAID
        self._room = 0
        self._keys: set[str] = set()

    def move_to(self, delivered: int, restarts: Iterable[Restart]) -> None:
        """The code is about to say something, having been given the record of this number last."""
        ground = max((restart.number for restart in restarts if restart.first <= delivered), default=delivered)
        ground = max(ground, delivered)
        before, count = self._place
        self._place = (ground, count + 1 if ground == before else 1)

    def emit(self, kind: str, data: bytes, after: int) -> None:
        """An event, said when there were `after` records."""
        if self._place > self._stored:
            self.new.append(Output(after, self._place, is_event=True, name=kind, data=data))

    def set_state(self, key: str, data: bytes, after: int) -> bool:
        """A value of the state; False where it has too many keys, on every pass alike."""
        keys = self._keys
        if key not in keys:
            if len(keys) >= STATE_KEYS:
                return False
            keys.add(key)
        if self._place > self._stored:
            self.new.append(Output(after, self._place, is_event=False, name=key, data=data))
        return True

    def take(self, records: int, taken: list[Output]) -> bool:
        """Move what comes before record number `records` into a commit; False where not all of it fits there."""
        new = self.new
        if not taken:
            self._room = BYTES_PER_COMMIT
        while new and new[0].after <= records:
            if len(taken) >= OUTPUTS_PER_COMMIT or self._room <= 0:
                return False
            output = new.popleft()
            self._room -= len(output.data)
            taken.append(output)
        return True


def saying_of(taken: list[Output]) -> Saying:
    """As a commit carries them. Of a value that changes often, the last counts."""
    return Saying(
        taken[-1].place,
        [(output.name, output.data) for output in taken if output.is_event],
        {output.name: output.data for output in taken if not output.is_event},
    )
