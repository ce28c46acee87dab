"""What each request passes before it comes to a page or the API: pure ASGI, so that streams pass as they are.

From the outside in: the prefix that a trusted proxy took off, the headers of each answer, the host that was asked for,
who asks, and for changes that a page of ours asks.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from redisflow.dashboard.access.csrf import CsrfGuard
from redisflow.dashboard.access.failures import log_failure
from redisflow.dashboard.access.hosts import HostCheck
from redisflow.dashboard.access.paths import is_open, path_within
from redisflow.dashboard.access.prefix import ForwardedPrefix
from redisflow.dashboard.access.refusals import log_refusal, refuse, send_refusal
from redisflow.dashboard.access.roles import ANYBODY, Admitted, Auth, Identity, Role

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""They change nothing."""
ANONYMOUS = "anonymous"

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Scripts, styles and data come from this dashboard alone, none of them inline; nobody frames it."""

SAFE_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
"""Of each answer; static files are kept for a year, since their names change with them."""


def access_middleware(
    *, auth: Auth | None = None, hosts: Sequence[str] = (), read_only: bool = False, trust_prefix: bool = False
) -> list[Middleware]:
    """For `Starlette(middleware=...)`, in this order.

    `hosts` are allowed besides the names of loopback. `trust_prefix` believes `X-Forwarded-Prefix`, which only a proxy
    may be able to set. Behind it `request.state.identity` says who asks, and `request.state.csrf_token` what a form has
    to carry.
    """
    return [
        *([Middleware(ForwardedPrefix)] if trust_prefix else []),
        Middleware(SafeHeaders),
        Middleware(HostCheck, hosts=tuple(hosts)),
        Middleware(Admission, auth=auth),
        *([Middleware(ReadOnly)] if read_only else []),
        Middleware(CsrfGuard),
    ]


class SafeHeaders:
    """Each answer says how a browser has to treat it, those that turn somebody away as well."""

    def __init__(self, app: ASGIApp) -> None:
        """Around this application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on."""
        if scope["type"] == "websocket":  # there are none here
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_static = path_within(scope).startswith("/static/")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SAFE_HEADERS.items():
                    headers[name] = value
                if is_static and message["status"] in {200, 304}:
                    headers["Cache-Control"] = "public, max-age=31536000, immutable"
            await send(message)

        await self._app(scope, receive, send_with_headers)


class NoIdentity(TypeError):
    """`auth` answered neither a Role nor an Identity nor None: True and False say nothing of what one may do."""


class Admission:
    """Who asks, in `request.state.identity`; 401 where nobody knows them."""

    def __init__(self, app: ASGIApp, auth: Auth | None = None) -> None:
        """Without `auth` everybody may do everything."""
        self._app = app
        self._auth = auth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on."""
        if scope["type"] != "http" or is_open(scope):
            await self._app(scope, receive, send)
            return
        try:
            identity = await self._identify(Request(scope))
        except HTTPException as error:
            if error.status_code in {403, 429}:  # not those that lead to a log-in
                log_refusal(scope, error.status_code, error.detail)
            await refuse(scope, error.status_code, error.detail, error.headers)(scope, receive, send)
            return
        except Exception as error:  # noqa: BLE001  # it is the user's: whatever it raises, nobody comes in
            log_failure("auth", error)
            await send_refusal(scope, receive, send, 500, "who you are could not be found out")
            return
        if identity is None:
            challenge = getattr(self._auth, "challenge", None)
            headers = None if challenge is None else {"WWW-Authenticate": challenge}
            await refuse(scope, 401, "say who you are", headers)(scope, receive, send)
            return
        scope.setdefault("state", {})["identity"] = identity
        await self._app(scope, receive, send)

    async def _identify(self, request: Request) -> Identity | None:
        if self._auth is None:
            return ANYBODY
        admitted = self._auth(request)
        found: Admitted = await admitted if inspect.isawaitable(admitted) else admitted
        if found is None or isinstance(found, Identity):
            return found
        if not isinstance(found, Role):
            raise NoIdentity
        return Identity(ANONYMOUS, found)


class ReadOnly:
    """Nothing is changed through here, whoever asks."""

    def __init__(self, app: ASGIApp) -> None:
        """Around this application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on."""
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS:
            await send_refusal(scope, receive, send, 403, "this dashboard is read-only: it changes nothing")
            return
        await self._app(scope, receive, send)
