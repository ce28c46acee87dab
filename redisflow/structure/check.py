"""The checker: pure, without I/O, over whatever part of a partition a snapshot holds.

Of a whole partition all must hold, between any two scripts. Of a part, `check_runs` asks what a run needs, and
`check_keys` what a key names: each of a snapshot that was read for it in one step, so that what it says was so.
"""

from __future__ import annotations

from collections.abc import Iterable

from redisflow.structure.breach import Breach
from redisflow.structure.keys import check_expiry, check_key
from redisflow.structure.record import check_hash, check_record
from redisflow.structure.runs import check_run
from redisflow.structure.snapshot import Snapshot

__all__ = ["check", "check_keys", "check_record", "check_runs"]


def check(space: Snapshot) -> list[Breach]:
    """Everything that is wrong in a partition of which all was read."""
    return [*check_keys(space, space.kinds), *check_runs(space, space.runs)]


def check_keys(space: Snapshot, names: Iterable[str]) -> list[Breach]:
    """What is in these keys (named without prefix), and does not belong there."""
    return [breach for name in names for breach in check_key(space, name)]


def check_runs(space: Snapshot, run_ids: Iterable[str]) -> list[Breach]:
    """What these runs need and do not find, and what is wrong with their hashes."""
    found: list[Breach] = []
    for run_id in run_ids:
        run = space.runs[run_id]
        damage = list(check_hash(space, run))
        if run.kind == "hash" and not run.onward:
            damage += check_record(space, run)
        found += [*damage, *check_expiry(space, f"run:{run_id}", run_id)]
        # Of a hash that says what it must not, only what it says clearly is asked for.
        if run.is_readable and f"run:{run_id}" not in space.torn:
            found += _check_run(space, run_id, is_damaged=bool(damage))
    return found


def _check_run(space: Snapshot, run_id: str, *, is_damaged: bool) -> list[Breach]:
    try:
        return list(check_run(space, space.runs[run_id]))
    except ValueError:
        if not is_damaged:
            raise
        return []  # what cannot be read there was reported
