"""From the mirror of a simulation to the snapshot that the checker of the key space looks at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redisflow.structure.snapshot import Post, Snapshot, StoredRun, Stream
from tests.faults.simulation.mirror import Mirror
from tests.faults.simulation.real_server import Change

# Payloads are no part of the structure, only how long they are.
_PAYLOADS = frozenset({"i", "o", "er"})
# What users' scripts write, and what lets a worker wait.
_PASSED_OVER = ("u:", "events:")


def snapshot_from(mirror: Mirror, prefix: str, now_ms: int) -> Snapshot:
    """All of a partition, as it is between two calls."""
    space = Snapshot(prefix, now_ms)
    for key, change in mirror.keys.items():
        if key.startswith(prefix):
            _add(space, key[len(prefix) :], change, now_ms)
    return space


def _add(space: Snapshot, name: str, change: Change, now_ms: int) -> None:
    space.kinds[name] = change.kind
    if change.expires_ms is not None:
        space.expiries[name] = max(0, change.expires_ms - now_ms)
    content = change.content
    if name.startswith("run:"):
        space.runs[name[4:]] = _run(name[4:], change)
    elif name == "outbox":
        space.posts = [_post(_pairs(flat)) for _, flat in content[0]]
        space.sizes[name] = len(content[0])
    elif change.kind == "stream" and not name.startswith(_PASSED_OVER):
        pending = [] if content[1] == b"no group" else content[1]
        entries = {entry.decode(): _text(flat[1]) for entry, flat in content[0]}
        space.streams[name] = Stream(entries, {item[0].decode() for item in pending})
        space.sizes[name] = len(entries)
    elif change.kind == "zset":
        space.sets[name] = {member: float(score) for member, score in _pairs(content).items()}
        space.sizes[name] = len(space.sets[name])
    elif change.kind == "hash":
        space.hashes[name] = _pairs(content)
        space.sizes[name] = len(space.hashes[name])
    elif change.kind == "set":
        space.groups[name] = {_text(member) for member in content}
    elif change.kind == "list":
        space.lists[name] = [_text(item) for item in content]
        space.sizes[name] = len(space.lists[name])
    elif change.kind == "string":
        space.strings[name] = _text(content)


def _run(run_id: str, change: Change) -> StoredRun:
    if change.kind != "hash":
        return StoredRun(run_id, change.kind, {}, {})
    raw = {_text(name): value for name, value in zip(change.content[::2], change.content[1::2], strict=True)}
    lengths = {name: len(value) for name, value in raw.items() if name == "i" or name.isdigit()}
    fields = {name: _text(value) for name, value in raw.items() if name not in _PAYLOADS and not name.isdigit()}
    return StoredRun(run_id, "hash", fields, lengths)


def _post(fields: dict[str, str]) -> Post:
    return Post(fields["do"], fields.get("run", ""), fields.get("child", ""), frozenset(fields))


def _pairs(flat: Sequence[Any]) -> dict[str, str]:
    texts = [_text(part) for part in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _text(raw: Any) -> str:
    return raw.decode("utf-8", "surrogateescape") if isinstance(raw, bytes) else str(raw)
