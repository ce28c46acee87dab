"""A run as one JSON document: to be attached to a report, kept beside a test, replayed, and imported elsewhere.

It holds what a replay needs, what a person asks for, and what makes a finished run whole again, with payloads opened
(base64 of what the codec wrote): whoever may read it may read the run. What is not there is not known of the run.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from redisflow.contract import Backend, StoredEvent

FORMAT = "redisflow run 1"
"""Its number changes where a reader that does not know what is new would read something wrong."""

TEXT = {
    "w": "workflow",
    "v": "version",
    "q": "queue",
    "s": "status",
    "ca": "cause",
    "pa": "parent",
    "tg": "tags",
    "ff": "forked_from",
    "sc": "schedule",
    "uq": "unique_key",
    "lk": "limits",
    "fp": "fair_key",
    "ev": "said",
}
INSTANTS = {
    "c": "created_at_ms",
    "a": "started_at_ms",
    "t": "finished_at_ms",
    "dl": "deadline_at_ms",
    "av": "available_at_ms",
    "xp": "expires_at_ms",
    "sa": "scheduled_at_ms",
}
NUMBERS = {"ct": "continued", "rt": "retries", "x": "crashes", "pr": "priority", "dp": "depth"}
"""Names of a document by those of the run's hash. Of keys their hashes, as they are stored."""
_PAYLOADS = {"i": "input", "o": "output", "er": "error"}


def export_fields(run_id: str, namespace: str, fields: Mapping[bytes, bytes]) -> dict[str, Any]:
    """The document; `fields` is the run's whole hash."""
    found = {name.decode(): value for name, value in fields.items()}
    count = int(found["h"].partition(b":")[0])
    return {
        "format": FORMAT,
        "id": run_id,
        "namespace": namespace,
        **{name: found[field].decode() for field, name in TEXT.items() if field in found},
        **{name: int(float(found[field])) for field, name in INSTANTS.items() if field in found},
        **{name: _base64(found[field]) for field, name in _PAYLOADS.items() if field in found},
        **{name: int(found[field]) for field, name in NUMBERS.items() if field in found},
        **({"claims": int(found["f"].partition(b":")[0])} if "f" in found else {}),
        "records": [_base64(found[str(number)]) for number in range(count)],
    }


async def export_said(backend: Backend, run_id: str) -> dict[str, Any]:
    """What the run has said: its events and its state; no names where it has said nothing, or is gone meanwhile."""
    events: list[StoredEvent] = []
    more = True
    while more:
        batch = await backend.events.read_events(run_id, events[-1].id if events else None)
        if batch is None:
            return {}
        events += batch.events
        more = batch.more
    state = await backend.events.read_state(run_id) or {}
    return {
        **({"events": _events(events)} if events else {}),
        **({"state": {key: _base64(value) for key, value in sorted(state.items())}} if state else {}),
    }


def _events(events: Sequence[StoredEvent]) -> list[dict[str, Any]]:
    return [
        {"id": event.id, "kind": event.kind, "data": _base64(event.data)}
        | ({} if event.step is None else {"step": event.step, "attempt": event.attempt})
        for event in events
    ]


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
