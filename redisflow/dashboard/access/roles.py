"""Who somebody is, and what that allows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Literal, TypeAlias

from starlette.requests import Request

from redisflow.errors import RedisflowError

LONGEST_NAME = 200
"""Characters of a name: it stands in each audit event."""


class Role(IntEnum):
    """What somebody may do; each may do what those before may."""

    VIEWER = 1
    """Reads."""
    OPERATOR = 2
    """Changes what can be put right again: starts, cancels, retries, reruns, forks, signals, pauses and resumes."""
    ADMIN = 3
    """Deletes, and stops workers."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who came in: the name stands in the log, and in the events of each run that they change."""

    name: str
    role: Role

    def __post_init__(self) -> None:
        """Refuse names that a log cannot hold in a line, and roles that are none."""
        if not isinstance(self.role, Role):
            msg = f"the role of an identity is a Role, not a {type(self.role).__name__}"
            raise TypeError(msg)
        if not (self.name.isprintable() and 0 < len(self.name) <= LONGEST_NAME):
            msg = f"the name of an identity is printable text of 1 to {LONGEST_NAME} characters"
            raise ValueError(msg)


Admitted: TypeAlias = Identity | Role | None
Auth: TypeAlias = Callable[[Request], Admitted | Awaitable[Admitted]]
"""Who sends a request; None: nobody who may come in. What it raises, or answers otherwise, keeps everybody out."""

ANYBODY: Final = Identity("anonymous", Role.ADMIN)
"""Everybody, where no `auth` is given: for a dashboard on loopback."""

Action: TypeAlias = Literal[
    "start",
    "cancel",
    "retry",
    "rerun",
    "fork",
    "signal",
    "pause",
    "resume",
    "trigger",
    "delete",
    "delete schedule",
    "drain",
]

NEEDS: Final[Mapping[Action, Role]] = {
    "start": Role.OPERATOR,
    "cancel": Role.OPERATOR,
    "retry": Role.OPERATOR,
    "rerun": Role.OPERATOR,
    "fork": Role.OPERATOR,
    "signal": Role.OPERATOR,
    "pause": Role.OPERATOR,
    "resume": Role.OPERATOR,
    "trigger": Role.OPERATOR,
    "delete": Role.ADMIN,
    "delete schedule": Role.ADMIN,
    "drain": Role.ADMIN,
}
"""The least role for each action."""


class NotPermitted(RedisflowError):
    """This dashboard does not do that for this person; nothing was changed."""


def check_permitted(identity: Identity, action: Action, *, read_only: bool) -> None:
    """NotPermitted where the dashboard changes nothing, or the role is not enough."""
    if read_only:
        msg = "this dashboard is read-only: it changes nothing"
        raise NotPermitted(msg)
    if identity.role < (needed := NEEDS[action]):
        msg = f"to {action} needs the role {needed.name.lower()}, and {identity.name} is {identity.role.name.lower()}"
        raise NotPermitted(msg)


def may(identity: Identity, action: Action, *, read_only: bool) -> bool:
    """Whether to offer it to them."""
    return not read_only and identity.role >= NEEDS[action]
