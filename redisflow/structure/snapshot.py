"""The keys of one partition at one instant, as plain data: all of them, or the part that a question needs.

Servers answer in rows (lua/lib/facts.lua): kind, name, ms until the key expires, size, where to go on, content. A
snapshot holds what was read, and knows of each key how much there is. Nothing in it is a payload.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = Sequence[Any]
TERMINAL = frozenset({"succeeded", "failed", "canceled"})
STATUSES = frozenset(
    {
        *("pending", "running", "succeeded", "failed", "canceled", "waiting:start", "waiting:timer", "waiting:retry"),
        *("waiting:signal", "waiting:child", "waiting:stranded", "waiting:suspended", "waiting:overlap"),
        *("waiting:limited", "waiting:paused", "waiting:held"),
    }
)


@dataclass(slots=True)
class StoredRun:
    """A run's hash without its payloads."""

    run_id: str
    kind: str
    """The type of its key: `hash`, or something that it must not be."""
    fields: Mapping[str, str]
    lengths: Mapping[str, int]
    """Of its input (`i`) and its records, by number, as far as they were looked at."""
    onward: int = 0
    """The first record that was not looked at; 0: all were."""
    status: str = field(init=False)
    word: str = field(init=False)
    """Its status without its reason."""
    reason: str = field(init=False)

    def __post_init__(self) -> None:
        """Take its status apart."""
        self.status = self.fields.get("s", "")
        self.word, _, self.reason = self.status.partition(":")

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended."""
        return self.word in TERMINAL

    @property
    def is_readable(self) -> bool:
        """Whether its hash says what all else is derived from."""
        return self.status in STATUSES and "w" in self.fields and "c" in self.fields

    @property
    def queue(self) -> str:
        """The queue where it is claimed."""
        return self.fields.get("q", "default")

    @property
    def limits(self) -> list[tuple[str, int, int, str]]:
        """Hash, count, period in ms and home partition (empty: its own) of each of its limits."""
        return parse_limits(self.fields["lk"]) if "lk" in self.fields else []


def parse_limits(text: str) -> list[tuple[str, int, int, str]]:
    """See `StoredRun.limits`."""
    found: list[tuple[str, int, int, str]] = []
    for part in text.split():
        limit, _, home = part.partition("@")
        name, count, period = limit.split(":")
        found.append((name, int(count), int(period), home))
    return found


@dataclass(slots=True)
class Stream:
    """A work stream and its group."""

    entries: dict[str, str] = field(default_factory=dict[str, str])
    """The run of each entry, by id."""
    pending: set[str] = field(default_factory=set[str])
    consumers: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class Post:
    """An entry of the outbox."""

    do: str
    run_id: str
    child: str
    fields: frozenset[str]
    to: str = ""
    """The partition that it is for, where it names one."""


@dataclass(slots=True)
class Snapshot:
    """See the module. Keys are named without their prefix."""

    prefix: str
    now_ms: int = 0
    runs: dict[str, StoredRun] = field(default_factory=dict[str, StoredRun])
    kinds: dict[str, str] = field(default_factory=dict[str, str])
    """Every key that was looked at, with its type."""
    expiries: dict[str, int] = field(default_factory=dict[str, int])
    """Ms until they expire, of keys that do."""
    sizes: dict[str, int] = field(default_factory=dict[str, int])
    """How much there is in a key, whatever part of it was read."""
    sets: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    """Sorted sets."""
    groups: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    """Plain sets."""
    hashes: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    lists: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    strings: dict[str, str] = field(default_factory=dict[str, str])
    streams: dict[str, Stream] = field(default_factory=dict[str, Stream])
    posts: list[Post] = field(default_factory=list[Post])
    """What is in the outbox, as far as it was read."""
    torn: set[str] = field(default_factory=set[str])
    """Keys of which it cannot be told whether they are right: others, which would say so, could not be read."""
    onward: dict[str, str] = field(default_factory=dict[str, str])
    """Where to go on, of keys of which there is more."""

    @property
    def partition(self) -> str:
        """The partition's number, as limits name it."""
        return self.prefix[:-2].rpartition(":")[2]

    @property
    def knows_outbox(self) -> bool:
        """Whether all that is in the outbox was read, so that what is not there is not there."""
        return "outbox" not in self.onward

    def size(self, name: str) -> int:
        """How many members a key has."""
        return self.sizes.get(name, 0)

    def score(self, name: str, member: str) -> float | None:
        """A member's score in a sorted set."""
        found = self.sets.get(name)
        return None if found is None else found.get(member)


def snapshot_of(prefix: str, now_ms: int, rows: Iterable[Row]) -> Snapshot:
    """A snapshot from the rows of a reply."""
    space = Snapshot(prefix, now_ms)
    torn: list[str] = []
    for row in rows:
        kind, name = _text(row[0]), _text(row[1])
        if kind == "run":
            _add_run(space, name, row)
        elif kind == "torn":
            torn.append(name)
        else:
            _add_key(space, kind, name, row)
    space.torn.update(torn)
    return space


def _text(raw: Any) -> str:
    return raw.decode("utf-8", "surrogateescape") if isinstance(raw, bytes) else str(raw)


def _pairs(flat: Sequence[Any]) -> dict[str, str]:
    texts = [_text(part) for part in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _add_run(space: Snapshot, run_id: str, row: Row) -> None:
    _, _, expiry_ms, kind, onward, fields, lengths = row
    if run_id in space.runs and not lengths:
        return  # named by something else, and read before
    name = f"run:{run_id}"
    space.kinds[name] = _text(kind)
    if expiry_ms >= 0:
        space.expiries[name] = expiry_ms
    sizes = {_text(part): int(lengths[at + 1]) for at, part in enumerate(lengths) if at % 2 == 0}
    space.runs[run_id] = StoredRun(run_id, _text(kind), _pairs(fields), sizes, int(onward))


def _add_key(space: Snapshot, kind: str, name: str, row: Row) -> None:
    _, _, expiry_ms, size, onward, content, *more = row
    space.kinds.setdefault(name, kind)
    if expiry_ms >= 0:
        space.expiries[name] = expiry_ms
    space.sizes[name] = max(int(size), space.sizes.get(name, 0))
    if _text(onward) != "0":
        space.onward[name] = _text(onward)
    match kind:
        case "zset":
            scores = space.sets.setdefault(name, {})
            scores.update((member, float(score)) for member, score in _pairs(content).items())
        case "set":
            space.groups.setdefault(name, set()).update(map(_text, content))
        case "hash":
            space.hashes.setdefault(name, {}).update(_pairs(content))
        case "list":
            space.lists.setdefault(name, []).extend(map(_text, content))
        case "string":
            space.strings[name] = _text(content[0]) if content else ""
        case "outbox":
            space.posts = _posts(content)
        case "stream":
            _add_stream(space.streams.setdefault(name, Stream()), content, *more)
        case _:
            pass


def _posts(content: Sequence[Any]) -> list[Post]:
    parts = zip(*[iter(map(_text, content))] * 5, strict=True)
    return [Post(do, run_id, child, frozenset(names.split()), to) for do, run_id, child, to, names in parts]


def _add_stream(
    stream: Stream, entries: Sequence[Any], pending: Sequence[Any] = (), consumers: Sequence[Any] = ()
) -> None:
    stream.entries.update(_pairs(entries))
    stream.pending.update(map(_text, pending))
    stream.consumers.extend(map(_text, consumers))
