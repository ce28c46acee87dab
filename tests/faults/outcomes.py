"""What may become of a call: everything that a network or a server can make of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from redisflow.errors import BackendError, BackpressureError
from redisflow.testing.faults import Rule, Trigger

_ADMIN = frozenset({"PING", "INFO", "CONFIG", "SCRIPT", "AUTH", "SELECT"})
_SUBSCRIPTIONS = frozenset({"SSUBSCRIBE", "SUNSUBSCRIBE"})
_READS = frozenset({"HGET", "HGETALL", "HMGET", "HSCAN", "SMEMBERS", "EXISTS", "XRANGE", "HRANDFIELD"})


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One of them."""

    name: str
    arm: Callable[[Trigger], Rule]
    refused_as: type[BackendError] | None = None
    """What the caller is told, where it is not tried again by itself. A holder's run is then left to its lease."""
    is_late: bool = False
    """The call arrives when its worker's lease is over and another worker has finished."""
    is_overtaken: bool = False
    """The call is given up, made again, and arrives once more when all is over."""
    applies: Callable[[str], bool] = lambda _: True
    """Whether a server could answer this to a command."""

    @property
    def leaves_to_lease(self) -> bool:
        """Whether a run may have to wait for its lease."""
        return self.refused_as is not None or self.is_late

    def __str__(self) -> str:
        return self.name


def _refusal(
    words: str, applies: Callable[[str], bool] = lambda _: True, refused_as: type[BackendError] | None = None
) -> Outcome:
    return Outcome(
        name=words.partition(" ")[0], arm=lambda on: on.answer(words), applies=applies, refused_as=refused_as
    )


def _is_script(command: str) -> bool:
    return command.islower()


def _has_keys(command: str) -> bool:
    return command not in _ADMIN


def _is_sent_anywhere(command: str) -> bool:
    return _has_keys(command) and command not in _SUBSCRIPTIONS


def _writes(command: str) -> bool:
    return _is_sent_anywhere(command) and command not in _READS


def _adds(command: str) -> bool:
    return _writes(command) and command not in {"BLPOP", "HDEL", "PEXPIRE", "XDEL"}


OUTCOMES: tuple[Outcome, ...] = (
    Outcome(name="not-sent", arm=lambda on: on.drop_request()),
    Outcome(name="reply-lost", arm=lambda on: on.drop_reply()),
    Outcome(name="sent-twice", arm=lambda on: on.duplicate()),
    Outcome(name="late", arm=lambda on: on.hold(), is_late=True),
    Outcome(name="overtaken", arm=lambda on: on.hold(), is_overtaken=True),
    Outcome(name="stall", arm=lambda on: on.drop_request(close=False)),
    Outcome(name="stall-after", arm=lambda on: on.drop_reply(close=False)),
    Outcome(name="reset", arm=lambda on: on.reset_before()),
    Outcome(name="reset-after", arm=lambda on: on.reset_after()),
    _refusal("NOSCRIPT No matching script. Please use EVAL.", _is_script),
    _refusal("LOADING Redis is loading the dataset in memory"),
    _refusal("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."),
    _refusal("READONLY You can't write against a read only replica.", _writes),
    _refusal("MISCONF Redis is configured to save RDB snapshots, but it is unable to persist to disk.", _writes),
    _refusal("NOREPLICAS Not enough good replicas to write.", _writes),
    _refusal("OOM command not allowed when used memory > 'maxmemory'.", _adds, BackpressureError),
    _refusal("CLUSTERDOWN The cluster is down", _has_keys),
    _refusal("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", _is_sent_anywhere),
    _refusal("MOVED 3999 127.0.0.1:1", _is_sent_anywhere, BackendError),
    _refusal("TRYAGAIN Multiple keys request during rehashing of slot", _is_sent_anywhere),
    _refusal(
        "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
        lambda command: command == "BLPOP",
    ),
)
"""All of them. What a server never answers to a command is left out: READONLY to a read, NOSCRIPT to what is no
script."""
