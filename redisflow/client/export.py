"""A run as one JSON document: to be attached to a report, kept beside a test, and replayed against another version.

It holds what a replay needs and what a person asks for, with payloads as they are stored (base64): whoever may read it
may read the run.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

FORMAT = "redisflow run 1"

_TEXT = {"w": "workflow", "v": "version", "q": "queue", "s": "status", "ca": "cause", "pa": "parent", "tg": "tags"}
_INSTANTS = {"c": "created_at_ms", "a": "started_at_ms", "t": "finished_at_ms", "dl": "deadline_at_ms"}
_PAYLOADS = {"i": "input", "o": "output", "er": "error"}


def export_fields(run_id: str, namespace: str, fields: Mapping[bytes, bytes]) -> dict[str, Any]:
    """The document; `fields` is the run's whole hash."""
    found = {name.decode(): value for name, value in fields.items()}
    count = int(found["h"].partition(b":")[0])
    return {
        "format": FORMAT,
        "id": run_id,
        "namespace": namespace,
        **{name: found[field].decode() for field, name in _TEXT.items() if field in found},
        **{name: int(found[field]) for field, name in _INSTANTS.items() if field in found},
        **{name: _base64(found[field]) for field, name in _PAYLOADS.items() if field in found},
        **({"continued": int(found["ct"])} if "ct" in found else {}),
        "records": [_base64(found[str(number)]) for number in range(count)],
    }


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
