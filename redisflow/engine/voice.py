"""`step.emit` and `step.set_state` in workflow code: noted down at their place, to leave with the next commits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redisflow.contract import STATE_KEYS
from redisflow.errors import NotAllowedInWorkflow, StateFull

if TYPE_CHECKING:
    from redisflow.engine.ledger import Ledger
    from redisflow.engine.outputs import Outputs
    from redisflow.engine.port import Port


class Voice:
    """Of one run. While it leaves memory it is silent: what code says then would be said at each park."""

    __slots__ = ("_ledger", "_port")

    def __init__(self, port: Port, ledger: Ledger) -> None:
        """Of the run that this port serves."""
        self._port = port
        self._ledger = ledger

    def emit(self, kind: str, data: bytes) -> None:
        """An event, said once over all passes."""
        outputs = self._here("emit")
        if outputs is not None:
            outputs.emit(kind, data, self._ledger.count)

    def set_state(self, key: str, data: bytes) -> None:
        """A value of the state, set once over all passes."""
        outputs = self._here("set_state")
        if outputs is not None and not outputs.set_state(key, data, self._ledger.count):
            raise StateFull(self._port.info.id, key, STATE_KEYS)

    def _here(self, what: str) -> Outputs | None:
        port = self._port
        if not port.is_running and not port.has_left:
            msg = (
                f"step.{what} was called outside its workflow's code and the bodies of its steps (in a thread of your "
                "own making, or after the run ended): start the thread with `contextvars.copy_context().run`"
            )
            raise NotAllowedInWorkflow(msg)
        if port.is_evicted or port.problem is not None:
            return None
        outputs = self._ledger.outputs
        outputs.move_to(port.delivered, port.history.restarts)
        return outputs
