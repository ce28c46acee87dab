"""The flow of a project, as its settings say: the dotted path of one, or what makes one."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from redisflow.errors import RedisflowError
from redisflow.flow import RedisFlow

SETTING = "REDISFLOW"

_lock = threading.RLock()  # a module that is being imported may ask as well
_made: RedisFlow | None = None


def get_flow() -> RedisFlow:
    """The flow of this project, the same at each call. ImproperlyConfigured where the settings name none."""
    global _made  # noqa: PLW0603  # one for each process, made at the first use
    wanted: object = getattr(settings, SETTING, None)
    if isinstance(wanted, str):
        return _import_flow(wanted)
    with _lock:
        if _made is None:
            _made = _make_flow(wanted)
        return _made


def _import_flow(path: str) -> RedisFlow:
    try:
        flow = import_string(path)
    except ImportError as error:
        msg = f"{SETTING} = {path!r} cannot be imported: {error}"
        raise ImproperlyConfigured(msg) from error
    if not isinstance(flow, RedisFlow):
        msg = f"{SETTING} = {path!r} names a {type(flow).__name__}, not a RedisFlow"
        raise ImproperlyConfigured(msg)
    return flow


def _make_flow(wanted: object) -> RedisFlow:
    if not isinstance(wanted, Mapping):
        msg = (
            f'{SETTING} is the dotted path of a RedisFlow ("shop.workflows.flow"), or a dict of what it is made with '
            '({"url": "redis://localhost:6379/0", "namespace": "shop"})'
        )
        raise ImproperlyConfigured(msg)
    try:
        return RedisFlow(**cast("Mapping[str, Any]", wanted))
    except (TypeError, ValueError, RedisflowError) as error:
        msg = f"{SETTING} makes no RedisFlow: {error}"
        raise ImproperlyConfigured(msg) from error


def _forget(*, setting: str, **_: object) -> None:
    global _made  # noqa: PLW0603  # see above
    if setting == SETTING:
        _made = None


setting_changed.connect(_forget)  # by override_settings in tests
