"""What leaves beside the records of a run: effects, done in the step that writes a record, and what is said."""

from __future__ import annotations

from redisflow.contract import Extension
from redisflow.engine.outputs import Output, Outputs, saying_of

Effect = bytes | str | int
EFFECTS_PER_COMMIT = 450
"""Words: 150 children, say, which the server writes in about a millisecond."""
EFFECT_BYTES_PER_COMMIT = 128 * 1024
"""Of scripts and what they are given: enough for the largest one."""


class Besides:
    """Of one run, in the hands of its holder: what is on no commit yet."""

    __slots__ = ("effects", "loose", "outputs")

    def __init__(self, outputs: Outputs) -> None:
        """Nothing yet."""
        self.outputs = outputs
        self.effects: dict[int, tuple[Effect, ...]] = {}
        """By the number of a new record, what is done in the same step."""
        self.loose: list[Effect] = []
        """What is to be done besides, with the last of all records."""

    def has_new(self) -> bool:
        """Whether it needs a commit, with or without records."""
        return bool(self.loose or self.outputs.new)

    def withdraw(self) -> None:
        """Forget it."""
        self.effects.clear()
        self.loose.clear()
        self.outputs.new.clear()

    def load(self) -> Load:
        """For the next commit."""
        return Load(self)


class Load:
    """What one commit carries beside its records."""

    __slots__ = ("_bytes", "_effects", "_said", "_source")

    def __init__(self, source: Besides) -> None:
        """Nothing yet."""
        self._source = source
        self._effects: list[Effect] = []
        self._bytes = 0
        """Of the effects."""
        self._said: list[Output] = []

    def has_room(self) -> bool:
        """Whether another record may come along, with its effects."""
        return len(self._effects) < EFFECTS_PER_COMMIT and self._bytes < EFFECT_BYTES_PER_COMMIT

    def take_before(self, number: int) -> bool:
        """Take what is said before the record of this number; False where not all of it fits."""
        outputs = self._source.outputs
        return not outputs.new or outputs.take(number, self._said)

    def take_with(self, number: int) -> None:
        """Take the effects of the record of this number."""
        found = self._source.effects.pop(number, ())
        self._effects += found
        self._bytes += sum(len(word) for word in found if not isinstance(word, int))

    def add_to(self, extension: Extension, *, is_last: bool) -> None:
        """Put it on the commit; `is_last`: no record is left after it."""
        if is_last:
            self._effects += self._source.loose
            self._source.loose.clear()
        if self._effects:
            extension.effects = self._effects
        if self._said:
            extension.saying = saying_of(self._said)
