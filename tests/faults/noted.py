"""What bodies in worker processes write: a line when they start and end, to a file that all processes append to."""

from __future__ import annotations

import os

from redisflow.authoring.body import current_body

_log = os.open(os.environ["FAULTS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note(event: str) -> None:
    """One line, in one write: the kernel orders the lines."""
    body = current_body.get()
    assert body is not None
    os.write(_log, f"{event} {body.run_id} {body.key} {os.getpid()}\n".encode())
