"""Which transport a URL asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redisflow.backend.cluster import Cluster
from redisflow.backend.memory import MemoryServer
from redisflow.backend.single import SingleServer

if TYPE_CHECKING:
    from redisflow.backend.acknowledgements import Acknowledgements
    from redisflow.backend.connect import Target
    from redisflow.backend.transport import Transport


def make_transport(target: Target, *, stall_s: float, acks: Acknowledgements) -> Transport:
    """Make it inside the event loop that it serves."""
    match target.kind:
        case "memory":
            return MemoryServer(target)
        case "cluster":
            return Cluster(target, stall_s=stall_s, acks=acks)
        case _:
            return SingleServer(target, stall_s=stall_s, acks=acks)
