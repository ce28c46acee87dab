"""The record as it grows: what is new, what is on its way, what the store has acknowledged.

Records leave in the order of their numbers, in commits of bounded size, one commit at a time. What workflow code says
to the outside leaves among them where it was said: never before a record that it rests on, nor after one that came
later. What becomes of the run travels with the last of all.
"""

from __future__ import annotations

from redisflow.contract import NOTHING_SAID, Extension, Mark, Place
from redisflow.engine.besides import Besides, Effect
from redisflow.engine.commands import GO_ON, Commit, Move
from redisflow.engine.outputs import Outputs
from redisflow.records import Record, encode_record

RECORDS_PER_COMMIT = 500
BYTES_PER_COMMIT = 1 << 20


class Ledger:
    """The record of one run, in the hands of its holder."""

    __slots__ = ("_base_ms", "_besides", "_new", "_new_bytes", "_said", "acknowledged", "count", "sent")

    def __init__(self, mark: Mark, base_ms: int, said: Place = NOTHING_SAID) -> None:
        """`mark` is where the stored record ends, `base_ms` what its times are counted from.

        Up to `said`, all that its code says is stored.
        """
        self.acknowledged = mark
        self.count = mark.records
        """Of all records, new ones too: the number of the next."""
        self._base_ms = base_ms
        self._said = said
        self._new: list[bytes] = []
        self._new_bytes = 0
        self._besides: Besides | None = None
        """Made when it is first used: most runs only append records."""
        self.sent: Mark | None = None
        """Where the record will end once the commit that is on its way is stored; None while none is."""

    def append(self, record: Record, *effects: Effect) -> int:
        """Add a record, and what is to be done in the step that writes it; returns its number."""
        number = self.count
        self.count = number + 1
        data = encode_record(record, self._base_ms)
        self._new.append(data)
        self._new_bytes += len(data)
        if effects:
            self.besides.effects[number] = effects
        return number

    def do(self, *effect: Effect) -> None:
        """Let something be done with the next commit that carries no later record before it."""
        self.besides.loose += effect

    def withdraw(self) -> None:
        """Forget what is new: it was asked for by code that must not be believed."""
        self.count -= len(self._new)
        self._new, self._new_bytes = [], 0
        if self._besides is not None:
            self._besides.withdraw()

    @property
    def bytes(self) -> int:
        """Of the input and all records, new ones too."""
        return (self.sent or self.acknowledged).bytes + self._new_bytes

    @property
    def besides(self) -> Besides:
        """What leaves beside the records."""
        if self._besides is None:
            self._besides = Besides(Outputs(self._said))
        return self._besides

    @property
    def outputs(self) -> Outputs:
        """What the code says."""
        return self.besides.outputs

    @property
    def is_speaking(self) -> bool:
        """Whether the code has said something that is on no commit yet."""
        return self._besides is not None and bool(self._besides.outputs.new)

    @property
    def has_new(self) -> bool:
        """Whether there is something to commit."""
        return bool(self._new) or (self._besides is not None and self._besides.has_new())

    def commit(self, then: Move) -> Commit:
        """The next commit. Where not all fits into it, the run goes on, whatever `then` says."""
        before, records = self.acknowledged, self._new
        if self._besides is None and len(records) <= RECORDS_PER_COMMIT and self._new_bytes <= BYTES_PER_COMMIT:
            self.sent = after = Mark(before.records + len(records), before.bytes + self._new_bytes)
            self._new, self._new_bytes = [], 0
            return Commit(Extension(before, after, records), then)
        load = self.besides.load()
        count = size = 0
        while count < RECORDS_PER_COMMIT and size < BYTES_PER_COMMIT and load.has_room():
            if not load.take_before(before.records + count) or count == len(records):
                break
            load.take_with(before.records + count)
            size += len(records[count])
            count += 1
        self.sent = after = Mark(before.records + count, before.bytes + size)
        self._new, self._new_bytes = records[count:], self._new_bytes - size
        has_more = bool(self._new) or self.is_speaking
        extension = Extension(before, after, records[:count])
        load.add_to(extension, is_last=not has_more)
        return Commit(extension, GO_ON if has_more else then)

    def acknowledge(self) -> None:
        """The commit that was on its way is stored."""
        assert self.sent is not None  # noqa: S101  # the shell answers a commit once
        self.acknowledged, self.sent = self.sent, None
