"""Each call of a script once more for each key that it touches, with a value of another type in that key.

Redis does not roll back: where a command meets a key of another type, what the script wrote before it stays. So the
tests of the scripts are run again with this in between, and each call is compared with what it does on sound keys.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import redis

from tests.lua.harness import PREFIX, Lua, audit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redisflow.backend.scripts import Scripts

Snapshot = dict[bytes, tuple[bytes, int]]
# The server makes the ids of entries by its own clock, and counts there how long ago something was read.
_ENTRY = re.compile(rb"\d{13}-\d+")
_UNTOLD = re.compile(r"has not told its end to (\S+)")
_LISTED = re.compile(r"schedule:\S+: it is listed at (\d+), its next tick is at (\d+)")
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|.)")
# Status, fence, record, output, error and verdict: what a run is. Its entry is a hint.
_CORE = frozenset({b"s", b"f", b"h", b"o", b"er", b"ca", b"t", b"vd"})
# A hint too many does no harm: whoever meets it looks at the run's hash, and drops it.
_STRAY = re.compile(
    r"is not the entry of|is never due, its timer is set|is not stored$|is listed$|the keyspace is not what"
)
# What a run waits for, or is owed: only the call that is done with it may take it away.
_OWED = ("mail:", "kids:", "unique:")
_OF_STRINGS = frozenset({b"GET", b"SET"})
_CLOCK = f"{PREFIX}clock".encode()


@dataclass
class Attempt:
    """One call that met a key of another type: what is wrong afterwards, if anything."""

    script: str
    kind: str
    """Of the key: its name, without what tells it from others."""
    torn: list[str]
    """Runs that are neither as before nor as after."""
    taken: list[str]
    """What is gone though every run is as it was: the next holder of one would need it."""
    lost: list[str]
    """What the audit finds when the key is sound again, the call was sent again, and upkeep has been there."""
    is_applied: bool
    """Whether it did on all other keys what it does on sound ones."""
    is_refused: bool
    """Whether it changed nothing at all."""


class WrongTypes(Lua):
    """The scripts, each of whose calls is tried on damaged keys first. What a test sees is the sound call alone."""

    def __init__(self, client: redis.Redis, scripts: Scripts, tried: Counter[tuple[str, str]], *, most: int) -> None:
        """`most` times is a kind of key damaged for a script; `tried` counts that."""
        super().__init__(client, scripts)
        self._monitor: Any = client.monitor()
        self._monitor.__enter__()
        self._most = most
        self._tried = tried
        self._busy = False
        self.attempts: list[Attempt] = []

    def end(self) -> None:
        """Stop watching the server."""
        self._monitor.__exit__(None, None, None)

    def call(self, script: str, /, *tails: Iterable[Any], **arguments: Any) -> list[Any]:
        """Try it, and then send it."""
        given = [list(tail) for tail in tails]
        if not self._busy:
            self._busy, operations = True, self.operations
            try:
                self._try(script, given, arguments)
            finally:
                self._busy, self.operations = False, operations
        return super().call(script, *given, **arguments)

    def _try(self, script: str, given: list[list[Any]], arguments: dict[str, Any]) -> None:
        before = self._snapshot()
        sound = self._state()
        self._touched()
        answer = self._answer(script, given, arguments)
        touched, after = self._touched(), self._state()
        wanted = {
            key: is_string for key, is_string in touched.items() if self._tried[script, _kind_of(key)] < self._most
        }
        if not wanted or not isinstance(answer, list) or self._look_after():
            self._restore(before)
            return
        for key, is_string in sorted(wanted.items()):
            kind = _kind_of(key)
            self._tried[script, kind] += 1
            self._restore(before)
            self.redis.delete(key)
            if is_string:
                self.redis.rpush(key, "of another type")
            else:
                self.redis.set(key, "of another type")
            self._answer(script, given, arguments)
            left, was, will = (_without(state, key) for state in (self._state(), sound, after))
            # What the script has deleted, of whichever type, stays deleted.
            if self.redis.delete(key) and key in before:
                self.redis.restore(key, before[key][1], before[key][0])
            self._answer(script, given, arguments)
            torn, taken = _torn(was, left, will), _taken(was, left, will)
            attempt = Attempt(script, kind, torn, taken, self._look_after(), left == will, left == was)
            self.attempts.append(attempt)
        self._restore(before)

    def _look_after(self) -> list[str]:
        """Do what upkeep does, as if every worker were gone; what is wrong then."""
        try:
            self._upkeep()
            audit(self)
        except (AssertionError, redis.ResponseError, TypeError, ValueError) as error:
            return [line for line in str(error).splitlines() if not (_STRAY.search(line) or self._comes(line))]
        return []

    def _comes(self, problem: str) -> bool:
        """Whether it is put right by what other workers do anyway, and that is on its way."""
        if told := _UNTOLD.search(problem):
            return {"do": b"look_kids", "run": told[1].encode()} in self.posted()
        if listed := _LISTED.search(problem):
            found, wanted = map(int, listed.groups())
            return found <= max(wanted, self.now + 60_000)
        # Of a schedule whose run has ended; within a minute it is looked at again, as one is that could not be read.
        looked = self.redis.zrange(f"{PREFIX}schedules", 0, -1, withscores=True)
        return "wait for a run that has ended" in problem and all(at <= self.now + 60_000 for _, at in looked)

    def _upkeep(self) -> None:
        names = [key.decode().removeprefix(PREFIX) for key in self.redis.keys("rf:*")]
        for _, queue, lane in (name.split(":") for name in names if name.startswith("q:")):
            self.expire_all(lane, queue)
            cursor = ""
            while cursor != "end":
                (cursor, *_) = self.reclaim(lane, queue)
        for workflow in sorted({name.split(":")[1] for name in names if name.startswith("runs:")}):
            self.reconcile(workflow)
        self.wake()
        self.claim("later", queues=sorted({name.split(":")[1] for name in names if name.startswith("q:")}), limit=1000)

    def _answer(self, script: str, given: list[list[Any]], arguments: dict[str, Any]) -> Any:
        try:
            return super().call(script, *given, **arguments)[:2]
        except (redis.ResponseError, TypeError) as error:
            return str(error)[:60]

    def _snapshot(self) -> Snapshot:
        keys = self.redis.keys("*")
        pipe = self.redis.pipeline(transaction=False)
        for key in keys:
            pipe.dump(key)
            pipe.pttl(key)
        answers = pipe.execute()
        return {key: (value, max(ttl, 0)) for key, value, ttl in zip(keys, answers[::2], answers[1::2], strict=True)}

    def _restore(self, snapshot: Snapshot) -> None:
        pipe = self.redis.pipeline(transaction=False)
        pipe.flushdb()
        for key, (value, ttl) in snapshot.items():
            pipe.restore(key, ttl, value)
        pipe.execute()

    def _state(self) -> dict[bytes, Any]:
        keys = self.redis.keys("*")
        pipe = self.redis.pipeline(transaction=False)
        for key in keys:
            pipe.type(key)
        return {key: self._value(key, kind) for key, kind in zip(keys, pipe.execute(), strict=True)}

    def _value(self, key: bytes, kind: bytes) -> Any:
        value: Any
        match kind:
            case b"hash":
                value = sorted(self.redis.hgetall(key).items())
            case b"zset":
                value = self.redis.zrange(key, 0, -1, withscores=True)
            case b"set":
                value = sorted(self.redis.smembers(key))
            case b"list":
                value = self.redis.lrange(key, 0, -1)
            case b"stream":
                has_group = bool(self.redis.xinfo_groups(key))
                pending = self.redis.xpending_range(key, "workers", "-", "+", 1000) if has_group else []
                value = self.redis.xrange(key), [(item["consumer"], item["times_delivered"]) for item in pending]
            case _:
                value = self.redis.get(key)
        return _ENTRY.sub(b"<entry>", repr(value).encode())

    def _touched(self) -> dict[bytes, bool]:
        """The keys that scripts have touched since the last look, and whether as strings."""
        mark = "looked"
        self.redis.echo(mark)
        found: dict[bytes, bool] = {}
        while True:
            line = self._monitor.connection.read_response()
            words = [_unescape(word) for word in _QUOTED.findall(line)]
            if words and words[0].upper() == b"ECHO":
                return found
            if b" lua]" in line:
                for word in words[1:]:
                    is_key = word.startswith(PREFIX.encode()) and word not in (PREFIX.encode(), _CLOCK)
                    if is_key and not words[0].upper().endswith(b"PUBLISH"):
                        found[word] = found.get(word, False) or words[0].upper() in _OF_STRINGS


def _unescape(word: bytes) -> bytes:
    return _ESCAPE.sub(lambda found: bytes.fromhex(found[1][1:].decode()) if len(found[1]) == 3 else found[1], word)


def _without(state: dict[bytes, Any], key: bytes) -> dict[bytes, Any]:
    return {name: value for name, value in state.items() if name != key}


def _kind_of(key: bytes) -> str:
    first, *rest = key.decode().removeprefix(PREFIX).split(":")
    return f"{first}:{rest[-1]}" if first == "q" else first


def _torn(was: dict[bytes, bytes], left: dict[bytes, bytes], will: dict[bytes, bytes]) -> list[str]:
    """Runs whose status, holder and record are neither those of before nor those of after."""
    runs = [key for key in sorted(was.keys() | left.keys() | will.keys()) if key.startswith(f"{PREFIX}run:".encode())]
    found: list[str] = []
    for key in runs:
        a, b, c = (_core(state.get(key)) for state in (was, left, will))
        if b not in (a, c):
            found.append(f"{key.decode()} is {b}, was {a}, and should be {c}")
    return found


def _taken(was: dict[bytes, bytes], left: dict[bytes, bytes], will: dict[bytes, bytes]) -> list[str]:
    """What was owed to runs and is owed no more, though no run has gone on, and not all was done that was to be."""
    runs = [key for key in was.keys() | left.keys() if key.startswith(f"{PREFIX}run:".encode())]
    if left == will or any(_core(was.get(key)) != _core(left.get(key)) for key in runs):
        return []
    owed = [key for key in sorted(was) if key.decode().removeprefix(PREFIX).startswith(_OWED)]
    return [
        f"{key.decode()} was {was[key]!r}, is {left.get(key)!r}"
        for key in owed
        if _items(was[key]) - _items(left.get(key))
    ]


def _items(stored: bytes | None) -> frozenset[Any]:
    value = None if stored is None else ast.literal_eval(stored.decode())
    return frozenset(value if isinstance(value, list) else [value])


def _core(stored: bytes | None) -> list[tuple[bytes, bytes]] | None:
    # Of a hash it is a list of pairs; a test may have put something else there itself.
    if stored is None or not stored.startswith(b"[("):
        return None
    return [(name, value) for name, value in ast.literal_eval(stored.decode()) if name in _CORE or name.isdigit()]
