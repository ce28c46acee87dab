"""The record as it grows: what is new, what is on its way, what the store has acknowledged.

Records leave in the order of their numbers, in commits of bounded size, one commit at a time. What workflow code says
to the outside leaves among them where it was said: never before a record that it rests on, nor after one that came
later. What becomes of the run travels with the last of all.
"""

from __future__ import annotations

from collections import deque

from redisflow.contract import NOTHING_SAID, Extension, Mark
from redisflow.engine.commands import GO_ON, Commit, Move
from redisflow.engine.outputs import Output, Outputs, saying_of
from redisflow.records import Record, encode_record

Effect = bytes | str | int
RECORDS_PER_COMMIT = 500
BYTES_PER_COMMIT = 1 << 20
EFFECTS_PER_COMMIT = 450
"""Words: 150 children, say, which the server writes in about a millisecond."""
EFFECT_BYTES_PER_COMMIT = 128 * 1024
"""Of scripts and what they are given: enough for the largest one."""


class Ledger:
    """The record of one run, in the hands of its holder."""

    __slots__ = ("_base_ms", "_effects", "_loose", "_new", "_sent", "acknowledged", "count", "outputs")

    def __init__(self, mark: Mark, base_ms: int, outputs: Outputs | None = None) -> None:
        """`mark` is where the stored record ends, `base_ms` what its times are counted from."""
        self.acknowledged = mark
        self.count = mark.records
        """Of all records, new ones too: the number of the next."""
        self.outputs = Outputs(NOTHING_SAID) if outputs is None else outputs
        self._base_ms = base_ms
        self._new: deque[bytes] = deque()
        self._effects: dict[int, tuple[Effect, ...]] = {}
        """By the number of a new record, what is done in the same step."""
        self._loose: list[Effect] = []
        """What is to be done besides, with the next commit."""
        self._sent: Mark | None = None

    def append(self, record: Record, *effects: Effect) -> int:
        """Add a record, and what is to be done in the step that writes it; returns its number."""
        number = self.count
        self.count = number + 1
        self._new.append(encode_record(record, self._base_ms))
        if effects:
            self._effects[number] = effects
        return number

    def do(self, *effect: Effect) -> None:
        """Let something be done with the next commit that carries no later record before it."""
        self._loose += effect

    def withdraw(self) -> None:
        """Forget what is new: it was asked for by code that must not be believed."""
        self.count -= len(self._new)
        self._new.clear()
        self._effects.clear()
        self._loose.clear()
        self.outputs.new.clear()

    @property
    def in_flight(self) -> bool:
        """Whether a commit is on its way."""
        return self._sent is not None

    @property
    def has_new(self) -> bool:
        """Whether there is something to commit."""
        return bool(self._new or self._loose or self.outputs.new)

    def commit(self, then: Move) -> Commit:
        """The next commit. Where not all fits into it, the run goes on, whatever `then` says."""
        new, outputs, before = self._new, self.outputs, self.acknowledged
        records: list[bytes] = []
        effects: list[Effect] = []
        said: list[Output] = []
        size = effect_bytes = 0
        while (
            len(records) < RECORDS_PER_COMMIT
            and size < BYTES_PER_COMMIT
            and len(effects) < EFFECTS_PER_COMMIT
            and effect_bytes < EFFECT_BYTES_PER_COMMIT
        ):
            if outputs.new and not outputs.take(before.records + len(records), said):
                break
            if not new:
                break
            record = new.popleft()
            if self._effects:
                found = self._effects.pop(before.records + len(records), ())
                effects += found
                effect_bytes += sum(len(word) for word in found if not isinstance(word, int))
            records.append(record)
            size += len(record)
        self._sent = after = Mark(before.records + len(records), before.bytes + size)
        extension = Extension(before, after, records)
        has_more = bool(new or outputs.new)
        if self._loose and not has_more:
            effects += self._loose
            self._loose.clear()
        if effects:
            extension.effects = effects
        if said:
            extension.saying = saying_of(said)
        return Commit(extension, GO_ON if has_more else then)

    def acknowledge(self) -> None:
        """The commit that was on its way is stored."""
        assert self._sent is not None  # noqa: S101  # the shell answers a commit once
        self.acknowledged, self._sent = self._sent, None
