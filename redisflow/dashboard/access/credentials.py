"""Ready-made `auth`: passwords (HTTP Basic) and bearer tokens.

Secrets are compared in constant time, are kept as hashes only, and stand in no repr, log line or error message.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request

from redisflow.dashboard.access.roles import Identity, Role
from redisflow.dashboard.access.throttle import Throttle

LONGEST_SECRET = 1024
"""Bytes of what stands behind the scheme: longer ones are not looked at."""


class BasicAuth:
    """Names with their passwords and roles: `BasicAuth({"ann": ("password", Role.ADMIN)})`.

    After ten failures from an address within a minute, requests from there are answered 429 until that minute is over.
    """

    challenge = 'Basic realm="redisflow", charset="UTF-8"'

    def __init__(self, users: Mapping[str, tuple[str, Role]], *, throttle: Throttle | None = None) -> None:
        """ValueError where a name or a password cannot be sent."""
        self._users: dict[str, tuple[bytes, Identity]] = {}
        for name, (password, role) in users.items():
            if not name or ":" in name or not password:
                msg = "a user has a name without ':', and a password that is not empty"
                raise ValueError(msg)
            self._users[name] = _digest(password), Identity(name, role)
        if not self._users:
            msg = "BasicAuth without users lets nobody in"
            raise ValueError(msg)
        self._throttle = throttle or Throttle()

    def __repr__(self) -> str:
        """Without passwords."""
        return f"BasicAuth({', '.join(self._users)})"

    def __call__(self, request: Request) -> Identity | None:
        """Who it is; HTTPException 429 where too many attempts from there have failed."""
        sent = _credentials(request, "basic")
        if sent is None:
            return None
        _refuse_throttled(self._throttle, request)
        name, password = _name_and_password(sent)
        # An unknown name takes as long as a wrong password.
        known, identity = self._users.get(name, (_NO_DIGEST, None))
        if hmac.compare_digest(known, _digest(password)) and identity is not None:
            return identity
        self._throttle.count(_address(request))
        return None


class BearerAuth:
    """Tokens with their roles, or identities: `BearerAuth({"token": Role.VIEWER})`.

    A token for which only a role is given is called `token-1`, `token-2`, ... in the order of the mapping.
    """

    challenge = 'Bearer realm="redisflow"'

    def __init__(self, tokens: Mapping[str, Role | Identity], *, throttle: Throttle | None = None) -> None:
        """ValueError where a token is empty."""
        if not tokens or not all(tokens):
            msg = "BearerAuth takes at least one token, and none that is empty"
            raise ValueError(msg)
        self._tokens = [
            (_digest(token), given if isinstance(given, Identity) else Identity(f"token-{number}", given))
            for number, (token, given) in enumerate(tokens.items(), 1)
        ]
        self._throttle = throttle or Throttle()

    def __repr__(self) -> str:
        """Without tokens."""
        return f"BearerAuth({', '.join(identity.name for _, identity in self._tokens)})"

    def __call__(self, request: Request) -> Identity | None:
        """Whose token it is; HTTPException 429 where too many attempts from there have failed."""
        sent = _credentials(request, "bearer")
        if sent is None:
            return None
        _refuse_throttled(self._throttle, request)
        digest, found = _digest(sent), None
        for known, identity in self._tokens:  # all of them, so that time does not tell which one it was
            if hmac.compare_digest(known, digest):
                found = identity
        if found is None:
            self._throttle.count(_address(request))
        return found


class AnyOf:
    """Several ways in: the first that knows who it is."""

    def __init__(self, ways: Sequence[BasicAuth | BearerAuth]) -> None:
        """In this order."""
        self._ways = tuple(ways)
        self.challenge = ", ".join(dict.fromkeys(way.challenge for way in ways))

    def __repr__(self) -> str:
        """Without secrets."""
        return f"AnyOf({', '.join(map(repr, self._ways))})"

    def __call__(self, request: Request) -> Identity | None:
        """Who it is."""
        return next((identity for way in self._ways if (identity := way(request)) is not None), None)


def _credentials(request: Request, scheme: str) -> str | None:
    given, _, rest = request.headers.get("authorization", "").partition(" ")
    return rest.strip()[: LONGEST_SECRET + 1] if given.lower() == scheme else None


def _name_and_password(sent: str) -> tuple[str, str]:
    if len(sent) > LONGEST_SECRET:
        return "", ""
    try:
        name, _, password = base64.b64decode(sent, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return "", ""
    return name, password


def _refuse_throttled(throttle: Throttle, request: Request) -> None:
    wait_s = throttle.wait_s(_address(request))
    if wait_s:
        raise HTTPException(429, "too many failed attempts from this address", {"Retry-After": str(wait_s)})


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


_NO_DIGEST = bytes(32)
