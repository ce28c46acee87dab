"""What a worker says of itself, beside its presence."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence

from redisflow import codec
from redisflow.authoring.definition import Registry
from redisflow.contract import About
from redisflow.worker.options import WorkerOptions

SERVES_AT_MOST = 1000
"""Lines for scripts: they take so many in one command. Runs of what is left out are offered again less soon."""


def describe_worker(registry: Registry, queues: Sequence[str], options: WorkerOptions) -> About:
    """Host, process, queues, workflows; and what of these scripts look at."""
    from importlib.metadata import version  # noqa: PLC0415  # slow, and who starts no worker need not wait for it

    about = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "queues": list(queues),
        "workflows": [list(place) for place in registry.served()],
        "concurrency": options.concurrency,
        "lease_ms": options.lease_ms,
        "python": sys.version.split()[0],
        "redisflow": version("redisflow"),
    }
    serves = [f"{queue} {name} {of_version or ''}" for queue in queues for name, of_version in registry.served()]
    return About(codec.encode(about), "\n".join(serves[:SERVES_AT_MOST]))
