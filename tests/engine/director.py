"""Who chooses what happens next on a stage: in the order of asking, or by chance from a seed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engine.stage import Stage


class Director:
    """Everything goes well: commits are stored and seen at once, bodies end in the order of their starts."""

    def __init__(self, pick: Callable[[list[str]], str] = lambda keys: keys[0]) -> None:
        """`pick` chooses which of the running bodies ends next."""
        self.pick = pick

    def choose(self, stage: Stage) -> None:
        """Let one thing happen."""
        if stage.can_acknowledge:
            stage.acknowledge()
        elif stage.can_store:
            stage.store_commit()
        elif (due_at_ms := stage.held.next_due_at_ms) is not None and due_at_ms <= stage.now_ms:
            stage.pass_time(0)
        else:
            stage.now_ms += 1
            stage.end_body(self.pick(stage.running()))

    def lag_ms(self, slack_ms: int) -> int:
        """How far the worker's clock lags behind the store's."""
        return slack_ms


class Chance(Director):
    """Anything may happen at any time, by a seed."""

    def __init__(self, seed: int, *, crash: float = 0.05, most_crashes: int = 8) -> None:
        super().__init__()
        self._random = random.Random(seed)
        self._crash = crash
        self._crashes_left = most_crashes

    def choose(self, stage: Stage) -> None:
        chance = self._random
        if self._crashes_left and chance.random() < self._crash:
            self._crashes_left -= 1
            stage.crash()
            return
        events: list[Callable[[], None]] = []
        if stage.can_acknowledge:
            events += [stage.acknowledge] * 3
        if stage.can_store:
            events += [stage.store_commit] * 3
        if stage.running():
            events += [lambda: stage.end_body(chance.choice(stage.running()))] * 3
        due_at_ms = stage.held.next_due_at_ms
        if due_at_ms is not None:
            events += [lambda: stage.pass_time(chance.choice((1, max(1, due_at_ms - stage.now_ms))))]
        stage.now_ms += chance.choice((0, 0, 1, 7))
        chance.choice(events)()

    def lag_ms(self, slack_ms: int) -> int:
        return self._random.randint(0, slack_ms)
