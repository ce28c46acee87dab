"""What a worker says of itself, beside its presence."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence

from redisflow import codec
from redisflow.authoring.definition import Registry
from redisflow.worker.options import WorkerOptions


def describe_worker(registry: Registry, queues: Sequence[str], options: WorkerOptions) -> bytes:
    """Host, process, queues, workflows: as it is stored."""
    about = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "queues": list(queues),
        "workflows": [list(place) for place in registry.served()],
        "concurrency": options.concurrency,
        "python": sys.version.split()[0],
    }
    return codec.encode(about)
