"""`--auth` as people type it, or better: as it stands in a file or in the environment.

    basic:USER:PASSWORD[:ROLE]     a user; ROLE is viewer, operator or admin (the default)
    bearer:TOKEN[:ROLE]            a token
    @FILE                          lines like these; empty ones, and those that begin with #, count for nothing
    env:NAME                       the same, from an environment variable

Everybody on a machine sees the words with which a process was started, so a secret belongs into a file or a variable.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from redisflow.dashboard.access.credentials import AnyOf, BasicAuth, BearerAuth
from redisflow.dashboard.access.roles import Identity, Role

_ROLES = {role.name.lower(): role for role in Role}
_FORMS = "basic:USER:PASSWORD[:ROLE], bearer:TOKEN[:ROLE], @FILE or env:NAME"


def read_auth(texts: Sequence[str], environ: Mapping[str, str] = os.environ) -> BasicAuth | BearerAuth | AnyOf:
    """What these say; ValueError, in which no secret stands, where that is nothing."""
    users: dict[str, tuple[str, Role]] = {}
    tokens: dict[str, Role | Identity] = {}
    for line in _lines(texts, environ):
        kind, _, rest = line.partition(":")
        name, _, behind = rest.partition(":")
        if kind == "basic" and name and behind:
            users[name] = _split_role(behind)
        elif kind == "bearer" and rest:
            token, role = _split_role(rest)
            tokens[token] = role
        else:
            msg = f"what says who may come in is written {_FORMS}"
            raise ValueError(msg)
    ways: list[BasicAuth | BearerAuth] = [BasicAuth(users)] if users else []
    ways += [BearerAuth(tokens)] if tokens else []
    if not ways:
        msg = f"nobody may come in: give at least one of {_FORMS}"
        raise ValueError(msg)
    return ways[0] if len(ways) == 1 else AnyOf(ways)


def _lines(texts: Sequence[str], environ: Mapping[str, str]) -> Iterator[str]:
    for text in texts:
        if text.startswith("@"):
            try:
                yield from _meant(Path(text[1:]).read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError) as error:
                msg = f"{text[1:]!r}, which is to say who may come in, cannot be read: {type(error).__name__}"
                raise ValueError(msg) from None
        elif text.startswith("env:"):
            if not environ.get(text[4:]):
                msg = f"${text[4:]}, which is to say who may come in, is not set"
                raise ValueError(msg)
            yield from _meant(environ[text[4:]])
        else:
            yield text


def _meant(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _split_role(text: str) -> tuple[str, Role]:
    """A secret that ends in the name of a role is followed by its role."""
    rest, is_there, last = text.rpartition(":")
    return (rest, _ROLES[last]) if rest and is_there and last in _ROLES else (text, Role.ADMIN)
