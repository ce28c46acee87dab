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
    about = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "queues": list(queues),
        "workflows": [list(place) for place in registry.served()],
        "concurrency": options.concurrency,
        "lease_ms": options.lease_ms,
        "python": sys.version.split()[0],
    }
    serves = [f"{queue} {workflow} {version or ''}" for queue in queues for workflow, version in registry.served()]
    return About(codec.encode(about), "\n".join(serves[:SERVES_AT_MOST]))
