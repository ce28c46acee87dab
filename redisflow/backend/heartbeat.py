"""A worker's heartbeat, called from an OS thread: a blocked event loop loses no lease."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redisflow.contract import Beat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redisflow.backend.scripts import Scripts
    from redisflow.backend.transport import BlockingCalls
    from redisflow.contract import Hold

# Runs in one script call: some 100 x 1.5 us of the server's time.
_RUNS_A_CALL = 100


class ThreadHeartbeat:
    """Renews presence and leases on a connection of its own."""

    def __init__(self, calls: BlockingCalls, scripts: Scripts, prefixes: Sequence[str]) -> None:
        """`calls` is this heartbeat's alone."""
        self._calls = calls
        self._scripts = scripts
        self._prefixes = prefixes

    def renew(
        self, partition: int, worker: str, presence_ms: int, about: bytes, holds: Sequence[Hold], serves: str = ""
    ) -> Beat:
        """Renew presence and leases; returns what is new of the runs that the worker holds.

        Raises BackendUnavailable where the server does not answer within 5 s. It may then be called again.
        """
        prefix = self._prefixes[partition]
        lost: list[str] = []
        mail: dict[str, int] = {}
        drain = False
        for first in range(0, max(1, len(holds)), _RUNS_A_CALL):
            held: list[str] = []
            for hold in holds[first : first + _RUNS_A_CALL]:
                held += (hold.run_id, hold.queue, hold.fence, hold.entry)
            command = self._scripts.renew_runs.call(
                prefix,
                held,
                worker=worker,
                presence_ms=presence_ms,
                about=about if first == 0 else b"",
                serves=serves if first == 0 else "",
            )
            for news in self._calls.call(prefix, command)[1:]:
                run_id, has_mail, number = news.partition(b" ")
                if news == b"drain":
                    drain = True
                elif not has_mail:
                    lost.append(run_id.decode())
                elif number.isdigit():  # else it is damaged: that must not cost the others their leases
                    mail[run_id.decode()] = int(number)
        return Beat(lost, mail, drain)

    def close(self) -> None:
        """Close the connection."""
        self._calls.close()
