"""How a request is turned away: a problem document for programs (RFC 9457), a line for people; and in the log."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from redisflow.dashboard.access.paths import is_api

PROBLEM_TYPE = "application/problem+json"
_SHOWN = 200
"""Characters of a path that a log line shows."""

_logger = logging.getLogger("redisflow.dashboard")


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """A problem document. `about:blank` says that its kind is told by `status`, and by `error` where one is there."""
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    return Response(json.dumps(document), status, dict(headers or {}), PROBLEM_TYPE)


def refuse(scope: Scope, status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer in the form in which it was asked for."""
    if is_api(scope):
        return problem(status, detail, headers)
    return PlainTextResponse(f"{status} {HTTPStatus(status).phrase}: {detail}\n", status, dict(headers or {}))


async def send_refusal(scope: Scope, receive: Receive, send: Send, status: int, detail: str) -> None:
    """The same, logged and sent."""
    log_refusal(scope, status, detail)
    await refuse(scope, status, detail)(scope, receive, send)


def log_refusal(scope: Scope, status: int, why: str) -> None:
    """One line: what was asked for, from where, and why not. What stands behind the question mark may be secret."""
    client = scope.get("client")
    address = client[0] if client else "an unknown address"
    _logger.warning("refused %s %r from %s: %d, %s", scope["method"], scope["path"][:_SHOWN], address, status, why)
