"""Bare commands to a cluster, past everything of ours: each goes to the node that has its keys.

What is about all keys (KEYS, SCAN), or about the servers themselves, goes to every primary, and the replies are joined.
The replies are those of one server with all the keys, so that a test that looks into a server can look into a cluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redisflow.backend.caller import Caller, Redirected
from redisflow.backend.slots import SlotMap, partition_in, read_owners, read_redirect
from redisflow.errors import BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from redisflow.backend.connect import Address, Target


class ClusterRaw:
    """Calls of one test, from one thread."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._callers: dict[Address, Caller] = {}
        self._slots = SlotMap()

    def __call__(self, *command: Any) -> Any:
        match str(command[0]).upper():
            case "KEYS":
                return [key for reply in self.everywhere(*command) for key in reply]
            case "SCAN":
                return [b"0", self("KEYS", command[list(command).index("MATCH") + 1])]
            case "DEL" | "UNLINK":
                return sum(self._routed(command[0], key) for key in command[1:])
            case "CLIENT":
                return b"".join(self.everywhere(*command))
            case "SCRIPT" | "FLUSHALL" | "CONFIG":
                return self.everywhere(*command)[0]
            case _:
                return self._routed(*command)

    def everywhere(self, *command: Any) -> list[Any]:
        """What each primary answers."""
        self._read_map()
        return [self._at(address, *command) for address in self._slots.addresses]

    def close(self) -> None:
        for caller in self._callers.values():
            caller.close()

    def _routed(self, *command: Any) -> Any:
        prefix = partition_in(command)
        for _ in range(5):
            address = self._slots.find(prefix) if prefix else next(iter(self._slots.addresses), None)
            if address is None:
                self._read_map()
                continue
            try:
                return self._at(address, *command)
            except Redirected as error:
                self._slots.correct(prefix or "", read_redirect(error.words, address))
        msg = f"no node of {self._target.masked} takes {command[0]}"
        raise AssertionError(msg)

    def _read_map(self) -> None:
        for address in self._target.hosts:
            try:
                self._slots.replace(read_owners(self._at(address, "CLUSTER", "SLOTS"), address))
            except BackendUnavailable:
                continue
            return

    def _at(self, address: Address, *command: Any) -> Any:
        if address not in self._callers:
            self._callers[address] = Caller(self._target, {})
        return self._callers[address].call(address, command)


def cluster_raw(target: Target) -> tuple[ClusterRaw, Callable[[], None]]:
    """Bare commands to a cluster, and what ends them."""
    raw = ClusterRaw(target)
    return raw, raw.close
