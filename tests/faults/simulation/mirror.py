"""The key space as it is after each call, kept from what calls have changed; an auditor may ask it like a server."""

from __future__ import annotations

from typing import Any

from tests.faults.simulation.real_server import Change, Execution, RealServer

Hash = dict[str, bytes]


def as_hash(change: Change | None) -> Hash:
    """The fields of a hash; empty where there is none."""
    if change is None or change.kind != "hash":
        return {}
    flat = change.content
    return {name.decode("latin-1"): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


class Mirror:
    """Of one namespace, by whole key."""

    def __init__(self) -> None:
        self.keys: dict[str, Change] = {}

    def apply(self, execution: Execution) -> None:
        for change in execution.changes:
            if change.kind == "none":
                self.keys.pop(change.key, None)
            else:
                self.keys[change.key] = change

    def raw(self, command: str, *words: Any) -> Any:
        """What the server would reply to the few commands that an auditor uses."""
        if command == "KEYS":
            (pattern,) = words
            return [key.encode() for key in self.keys if key.startswith(pattern.removesuffix("*"))]
        if command == "XINFO":
            found = self.keys.get(words[1])
            return [] if found is None or found.content[1] == b"no group" else [[b"name", b"workers"]]
        found = self.keys.get(words[0])
        if command == "TTL":
            return -2 if found is None else -1 if found.expires_ms is None else found.expires_ms
        if command == "EXISTS":
            return 0 if found is None else 1
        content = None if found is None else found.content
        match command:
            case "HGETALL" | "SMEMBERS" | "ZRANGE" | "LRANGE":
                return content or []
            case "GET":
                return content
            case "ZSCORE":
                flat = content or []
                return next((s for m, s in zip(flat[::2], flat[1::2], strict=True) if m == _bytes(words[1])), None)
            case "ZCARD":
                return len(content or []) // 2
            case "XRANGE":
                return content[0] if content else []
            case "XLEN":
                return len(content[0]) if content else 0
            case "XPENDING":
                pending = content[1] if content and content[1] != b"no group" else []
                return pending if len(words) > 2 else [len(pending)]
            case _:
                raise AssertionError(command)

    def differs_from(self, real: RealServer) -> list[str]:
        """Keys that the mirror has and the server does not, or the other way round; users' keys are their own."""
        names = {name.decode() for name in real.ask(("KEYS", "rf:*"))}
        ours = set(self.keys)
        return sorted(name for name in names ^ ours if ":u:" not in name)


def _bytes(word: Any) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()
