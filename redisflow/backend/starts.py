"""Starts under rules, as rows of one script: those of one turn of the loop leave as one call."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from redisflow.backend import replies
from redisflow.backend.row_batches import unconfirmed
from redisflow.backend.rows import COLUMNS, row_of
from redisflow.contract import Active, Conflict, DebounceRule, Started, Throttled, ThrottleRule, UniqueRule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redisflow.backend.patience import Patience
    from redisflow.backend.row_batches import RowBatches
    from redisflow.backend.scripts import Scripts
    from redisflow.contract import NewRun, StartRule


class RuledStarts:
    """One object per open backend."""

    def __init__(
        self,
        batches: RowBatches,
        patience: Patience,
        scripts: Scripts,
        prefix_of: Callable[[str], str],
        max_pending: int | None,
    ) -> None:
        """All that it needs to call."""
        self._batches = batches
        self._patience = patience
        self._prefix_of = prefix_of
        self._max_pending = max_pending
        self._head = scripts.start_runs.head(*COLUMNS)

    async def start_run(self, new: NewRun, rules: Sequence[StartRule]) -> Started | Conflict | Active | Throttled:
        """See `StartCalls`."""
        unique = next((rule.key_hash for rule in rules if isinstance(rule, UniqueRule)), None)
        if unique is not None:
            new = replace(new, fields={**new.fields, "uq": unique})
        demands = [part for rule in rules for part in _demand(rule)]
        row = (*row_of(new, self._max_pending), len(demands), *demands)
        answer = self._batches.add(self._head, self._prefix_of(new.run_id), row, len(new.input), _answer)
        made: Started | Conflict | Active | Throttled = await self._patience.give(answer)
        return made if answer.is_confirmed else unconfirmed(made)


def _demand(rule: StartRule) -> tuple[str | int, ...]:
    match rule:
        case UniqueRule():
            return ("unique", rule.key_hash, rule.on_conflict)
        case DebounceRule():
            at_most_ms = "" if rule.at_most_ms is None else rule.at_most_ms
            return ("debounce", rule.key_hash, rule.delay_ms, at_most_ms)
        case ThrottleRule():
            return ("throttle", rule.key_hash, rule.limit, rule.per_ms, rule.on_excess)


def _answer(reply: Any) -> Started | Conflict | Active | Throttled:
    match reply:
        case [b"created", run_id, available]:
            return Started(
                run_id=run_id.decode(), existing=False, available_at_ms=int(available) if available else None
            )
        case [b"debounced", first, available]:
            return Started(run_id=first.decode(), existing=True, available_at_ms=int(available))
        case [b"existing", known]:
            return Started(run_id=known.decode(), existing=True, available_at_ms=None)
        case [b"active", older]:
            return Active(older.decode())
        case [b"throttled", last, free]:
            return Throttled(last.decode(), int(free))
        case _:
            refused = replies.created(reply)
            assert isinstance(refused, Conflict)  # noqa: S101  # the other words are above
            return refused
