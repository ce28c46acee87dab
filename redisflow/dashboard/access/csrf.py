"""Changes are asked for by pages of this dashboard, or by programs; never by a page of somebody else's.

A browser adds what it knows of a person (a password, a cookie) to what any page lets it send. So a change has to come
from this origin, by what the browser itself says of it (`Sec-Fetch-Site`, else `Origin`), and it carries a token that
only our pages know: the one in the cookie, again in a header or in the form. Dashboards below each other (/redisflow,
/redisflow/ns/NAME) have a cookie each, and a browser sends all of those whose path fits: a token is right that is among
them. What is only read is not loaded by pages of other origins either; links lead here from everywhere.

Two kinds of requests need no token, because no page can make a browser send them. Those with `Authorization: Bearer`:
no browser adds that by itself, and a page of another origin may not. And, in the API, those without `Sec-Fetch-*`,
`Origin`, `Referer` and cookies: every browser sends `Origin` with a change that another origin asks for, so this is
curl or a program.
"""

from __future__ import annotations

import hmac
import re
import secrets
from typing import Final
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from redisflow.dashboard.access.paths import is_api, is_open
from redisflow.dashboard.access.refusals import send_refusal

COOKIE: Final = "redisflow_csrf"
HEADER: Final = "X-CSRF-Token"
FIELD: Final = "csrf"
FORM_LIMIT: Final = 2 << 20
"""Bytes of a form: what may stand in it is an input, of 1 MiB at most."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_CHANGES_NOTHING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_FORM: Final = "application/x-www-form-urlencoded"
_OF_BROWSERS: Final = ("cookie", "origin", "referer", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest")


class CsrfGuard:
    """Gives pages their token, and looks for it in what they send."""

    def __init__(self, app: ASGIApp) -> None:
        """Around this application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if _is_loaded_by_others(scope, headers):
            await send_refusal(scope, receive, send, 403, "another site may lead here, but not load this")
            return
        known = _tokens_in_cookies(headers)
        if scope["method"] not in _CHANGES_NOTHING and not _is_of_a_program(scope, headers):
            if (why := _other_origin(headers)) is not None:
                await send_refusal(scope, receive, send, 403, why)
                return
            sent: str | None = headers.get(HEADER)
            if sent is None and headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM:
                body = await _read(receive)
                if body is None:
                    await send_refusal(scope, receive, send, 413, f"a form has at most {FORM_LIMIT:,} bytes")
                    return
                sent, receive = _token_in_form(body), _again(body, receive)
            if sent is None or not any(hmac.compare_digest(each.encode(), sent.encode()) for each in known):
                why = f"the token is missing or wrong: send the cookie's also as {HEADER} or `{FIELD}`; reload the page"
                await send_refusal(scope, receive, send, 403, why)
                return
        token = known[0] if known else secrets.token_urlsafe(32)
        scope.setdefault("state", {})["csrf_token"] = token
        await self._app(scope, receive, send if known else _with_cookie(scope, send, token))


def _is_loaded_by_others(scope: Scope, headers: Headers) -> bool:
    """Whether a page of another origin wants this as a picture, a script, a stream: a link that is followed is no such.

    It could not read it, but see from what comes of it, or how long it takes, what is there; and use up all streams.
    """
    if scope["method"] not in _CHANGES_NOTHING or is_open(scope):
        return False
    is_foreign = headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}
    return is_foreign and headers.get("sec-fetch-mode") != "navigate"


def _tokens_in_cookies(headers: Headers) -> list[str]:
    """All that are sent; browsers begin with that of the longest path (RFC 6265, 5.4), so with this dashboard's own."""
    pairs = (each.partition("=") for line in headers.getlist("cookie") for each in line.split(";"))
    return [value.strip() for name, _, value in pairs if name.strip() == COOKIE and _TOKEN.fullmatch(value.strip())]


def _is_of_a_program(scope: Scope, headers: Headers) -> bool:
    if headers.get("authorization", "").lower().startswith("bearer "):
        return True
    return is_api(scope) and not any(name in headers for name in _OF_BROWSERS)


def _other_origin(headers: Headers) -> str | None:
    """Why this does not come from a page of ours."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return None if site in {"same-origin", "none"} else "this comes from another site"
    origin = headers.get("origin")
    # The scheme is not compared: behind a proxy that speaks TLS it is another one here.
    if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        return "this comes from another origin"
    return None


async def _read(receive: Receive) -> bytes | None:
    """The whole body; None where it is too large."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        part: bytes = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > FORM_LIMIT:
            return None
        if not message.get("more_body", False):
            return b"".join(parts)


def _token_in_form(body: bytes) -> str | None:
    try:
        found = parse_qs(body.decode("ascii"), max_num_fields=1000).get(FIELD, [])
    except ValueError:
        return None
    return found[0] if len(found) == 1 else None


def _again(body: bytes, receive: Receive) -> Receive:
    """The body once more, for whoever reads it next; then whatever else comes."""
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return whole.pop() if whole else await receive()

    return receive_again


def _with_cookie(scope: Scope, send: Send, token: str) -> Send:
    """A page that has no token yet is sent one."""
    path = scope.get("root_path", "") or "/"
    secure = "; Secure" if scope.get("scheme") == "https" else ""

    async def send_with_cookie(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if headers.get("content-type", "").startswith("text/html"):
                headers.append("Set-Cookie", f"{COOKIE}={token}; Path={path}; SameSite=Strict; HttpOnly{secure}")
        await send(message)

    return send_with_cookie
