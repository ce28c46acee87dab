"""How a defect is told in the log: where it happened, without its words. They may hold what users store."""

from __future__ import annotations

import logging
import traceback
from typing import Final

_logger: Final = logging.getLogger("redisflow.dashboard")


def log_failure(what: str, error: BaseException) -> None:
    """The kind of the error, and the lines of code that led to it."""
    where = "".join(traceback.format_tb(error.__traceback__))
    _logger.error("%s failed: %s\n%s", what, type(error).__name__, where)
