"""A new run as a row of the scripts that create runs."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redisflow.contract import NewRun
    from redisflow.durations import When

COLUMNS = (
    "run_id",
    "workflow",
    "version",
    "queue",
    "input",
    "available",
    "deadline",
    "idem",
    "idem_ms",
    "fingerprint",
)


def row_of(new: NewRun, max_pending: int | None = None) -> tuple[Any, ...]:
    """The values of `COLUMNS`, then its further fields with their number before them.

    With `max_pending` it is refused where as many wait in its partition; not the children of running work.
    """
    idem, fields = new.idempotency, new.fields
    if new.expires is not None:
        fields = {**fields, "xp": _when(new.expires)}
    if new.parent is not None:
        fields = {**fields, "pa": new.parent}
    elif max_pending is not None:
        fields = {**fields, "mp": max_pending}
    return (
        new.run_id,
        new.workflow,
        new.version or "",
        "" if new.queue == "default" else new.queue,
        new.input,
        "" if new.available is None else _when(new.available),
        "" if new.deadline is None else _when(new.deadline),
        *((idem.key_hash, idem.keep_ms, idem.fingerprint) if idem else _NO_KEY),
        *((2 * len(fields), *chain.from_iterable(fields.items())) if fields else _NO_FIELDS),
    )


_NO_KEY = ("", "", "")
_NO_FIELDS = (0,)


def _when(when: When) -> str:
    return f"+{when.ms}" if when.relative else str(when.ms)
