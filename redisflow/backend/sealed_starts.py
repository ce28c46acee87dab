"""Starts under rules whose inputs are sealed.

A debounced start gives its input to the run of an earlier one, inside the script, so such an input is sealed for all
runs of its key, and never put into a store, where it would belong to a run that does not come to be.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from redisflow.contract import (
    Active,
    Conflict,
    DebounceRule,
    NewRun,
    StartCalls,
    Started,
    StartRule,
    Throttled,
)
from redisflow.sealing import PLAIN_LIMIT, Seals
from redisflow.size_limit import check_size

T = TypeVar("T")


class SealedStarts:
    """Of one namespace."""

    def __init__(self, starts: StartCalls, seals: Seals, tidy: Callable[[NewRun, str], None], within_s: float) -> None:
        """`tidy` looks after an input whose run is another one, `within_s` is how long the store is waited for."""
        self._starts = starts
        self._seals = seals
        self._tidy = tidy
        self._within_s = within_s

    async def start_run(self, new: NewRun, rules: Sequence[StartRule]) -> Started | Conflict | Active | Throttled:
        """See `StartCalls`."""
        debounce = next((rule for rule in rules if isinstance(rule, DebounceRule)), None)
        if debounce is None:
            data = await self._seals.seal(new.input, new.run_id, "input", within_s=self._within_s)
        else:
            check_size(new.input, PLAIN_LIMIT, f"the input of a debounced start of {new.workflow!r}")
            data = self._seals.seal_now(new.input, new.run_id, "input", shared=debounce.key_hash)
        sealed = replace(new, input=data)
        made = await with_fingerprints(self._seals, sealed, lambda one: self._starts.start_run(one, rules))
        self._tidy(sealed, made.run_id)
        return made


async def with_fingerprints(seals: Seals, new: NewRun, start: Callable[[NewRun], Awaitable[T]]) -> T:
    """Start it; where its idempotency key is in conflict, look whether it was written under another key.

    The hash of a plain input would let anybody test guesses, so it is keyed. What an earlier key wrote, or nobody
    encrypted, is no conflict: a start in conflict creates nothing, so each may be tried.
    """
    idem = new.idempotency
    if idem is None:
        return await start(new)
    first, *others = seals.fingerprints(idem.fingerprint)
    made = await start(replace(new, idempotency=replace(idem, fingerprint=first)))
    for fingerprint in others:
        if not isinstance(made, Conflict):
            break
        made = await start(replace(new, idempotency=replace(idem, fingerprint=fingerprint)))
    return made
