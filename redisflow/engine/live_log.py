"""`step.log`: a logger that says each thing once, and whose records are events of the run as well.

Whether a record is logged is up to the process that works on the run just then; whether it is an event is the same on
every pass, and in every process: from INFO on it is.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from redisflow.authoring.body import current_body
from redisflow.authoring.outputs import emit

if TYPE_CHECKING:
    from redisflow.engine.port import Port

_log = logging.getLogger("redisflow.workflow")
_SHOWN = 4096
"""Characters of a message that an event holds."""


class LiveLogger(logging.LoggerAdapter[logging.Logger]):
    """Not while the run is replayed, nor while it leaves memory."""

    def __init__(self, port: Port) -> None:
        """Of the run that this port serves."""
        super().__init__(_log, {"run_id": port.info.id, "workflow": port.info.workflow})
        self._port = port

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802  # logging's own name
        """See the class."""
        port = self._port
        return not port.is_replaying and not port.is_evicted and super().isEnabledFor(level)

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """What all of debug, info, warning, error, exception and critical come to."""
        if level >= logging.INFO:
            # A thread that knows neither the workflow nor a body only logs, as any logger does there.
            port = current_body.get() or (self._port.outputs if self._port.is_running else None)
            if port is not None:
                data = {"level": logging.getLevelName(level), "message": _text(level, msg, args)}
                emit(port, "log", data)
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1  # past this function
        super().log(level, msg, *args, **kwargs)


def _text(level: int, msg: object, args: tuple[object, ...]) -> str:
    try:
        text = logging.LogRecord(_log.name, level, "", 0, msg, args, None).getMessage()
    except Exception:  # noqa: BLE001  # arguments that do not fit: logging itself says so, and goes on
        text = repr(msg)
    return text[:_SHOWN].encode("utf-8", "replace").decode()
