"""Calls from a thread to a cluster: the heartbeat's. The event loop may stand still meanwhile, and hear of nothing.

So this follows MOVED by itself, and where a node does not answer it asks another for the map. The hard thing is time: a
node that is away costs seconds, and the leases of all other partitions must be renewed in between. It is asked once in
a while, not once for each of its partitions.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from redisflow.backend.caller import Caller, Redirected
from redisflow.backend.slots import SlotMap, read_owners, read_redirect
from redisflow.errors import BackendError, BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redisflow.backend.connect import Address, Target
    from redisflow.backend.wire import Command

_HOPS = 3
_AWAY_S = 2.0
"""How long a node that did not answer is not asked again: the calls for its other partitions fail at once."""


class Loop(Protocol):
    """What the event loop knows of the cluster."""

    slots: SlotMap

    def doubt(self) -> None:
        """Its map may be wrong; called from a thread."""
        ...


class ClusterCalls:
    """Calls from one thread, each to the node that owns its partition."""

    def __init__(self, loop: Loop, target: Target, texts: Mapping[str, str]) -> None:
        """Made by `Cluster.open_calls`."""
        self._loop = loop
        self._target = target
        self._texts = texts
        self._callers: dict[Address, Caller] = {}
        self._away: dict[Address, float] = {}
        """Nodes that did not answer, and until when they are not asked."""
        self._own = SlotMap()
        """What this thread has read by itself; empty while the loop's map is good enough."""

    def call(self, prefix: str, command: Command) -> Any:
        """Its reply. BackendUnavailable where there is none, BackendError where it is a refusal."""
        for _ in range(_HOPS):
            address = self._own.find(prefix) or self._loop.slots.find(prefix)
            if address is None:
                self._loop.doubt()
                msg = f"no node of {self._target.masked} owns partition {prefix!r} at present"
                raise BackendUnavailable(msg)
            if self._away.get(address, 0.0) > time.monotonic():
                msg = f"the node {address[0]}:{address[1]} of {self._target.masked} did not answer a moment ago"
                raise BackendUnavailable(msg)
            try:
                return self._caller(address).call(address, command)
            except Redirected as error:
                self._loop.doubt()
                if not error.words.startswith("MOVED "):
                    raise
                self._own.correct(prefix, read_redirect(error.words, address))
            except BackendUnavailable:
                self._away[address] = time.monotonic() + _AWAY_S
                self._loop.doubt()
                self._look_around(besides=address)
                if self._own.find(prefix) in (None, address):
                    raise
        msg = f"the nodes of {self._target.masked} do not agree on who owns partition {prefix!r}"
        raise BackendUnavailable(msg)

    def _look_around(self, *, besides: Address) -> None:
        """Read the map from any other node that answers."""
        for address in dict.fromkeys([*self._loop.slots.addresses, *self._target.hosts]):
            if address != besides and self._away.get(address, 0.0) <= time.monotonic():
                try:
                    owners = read_owners(self._caller(address).call(address, ("CLUSTER", "SLOTS")), address)
                except BackendError:
                    self._away[address] = time.monotonic() + _AWAY_S
                else:
                    self._own.replace(owners)
                    return

    def _caller(self, address: Address) -> Caller:
        if address not in self._callers:
            self._callers[address] = Caller(self._target, self._texts)
        return self._callers[address]

    def close(self) -> None:
        """Close the connections."""
        for caller in self._callers.values():
            caller.close()
