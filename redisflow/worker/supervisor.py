"""The process that started this worker process, as this one sees it: there, or gone.

The end of a pair of sockets tells. It is the same however the other process ended, and nothing has to be asked again
and again. A thread waits for it: user code that is being imported, or blocks the event loop, holds up everything else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time

from redisflow.worker.options import WorkerOptions
from redisflow.worker.target import Served

EXIT_DRAINED = 80
"""Of a worker process that was told to drain: it is not to be replaced. Who started it ends with 0."""
GOOD_BYE_S = 10.0
"""After the grace period, before a process is killed: it hands its runs back, closes its resources."""


class Supervisor:
    """The process that started this one. When it is gone, this one stops as on SIGTERM."""

    def __init__(self, descriptor: int, options: WorkerOptions) -> None:
        """`descriptor` is that of `--supervisor`."""
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        self._stop_within_s = options.grace_ms / 1000 + GOOD_BYE_S
        self._may_begin = threading.Event()

    def follow(self) -> None:
        """Stop with it, from now on; killed where that takes too long."""
        threading.Thread(target=self._follow, name="redisflow-supervisor", daemon=True).start()

    def say(self, served: Served) -> None:
        """Tell it that this process works. Where it is gone, `follow` knows."""
        with contextlib.suppress(OSError):
            self._socket.sendall(served.to_line())

    def wait_to_begin(self) -> None:
        """Until it says that this process may work, which is all that it ever says; `follow` must have been called."""
        self._may_begin.wait()

    def _follow(self) -> None:
        with contextlib.suppress(OSError):
            while self._socket.recv(1):
                self._may_begin.set()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(self._stop_within_s)
        os.kill(os.getpid(), signal.SIGKILL)
