"""Libraries that only some need: imported where they are first used, with an error that names what to install."""

from __future__ import annotations

import importlib
from typing import Any

from redisflow.errors import MissingExtra


def load(module: str, *, extra: str, use: str) -> Any:
    """The module; MissingExtra where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        msg = f"{use} needs {package}, which is not installed here: pip install 'redisflow[{extra}]'"
        raise MissingExtra(msg) from error
