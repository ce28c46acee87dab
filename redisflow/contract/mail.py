"""The calls about mailboxes: what is sent to a run from outside, and how its holder reads it."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from redisflow.contract.values import Answer
from redisflow.mail import BufferedNames, Mail


class Delivery(enum.Enum):
    """What became of something that was sent to a run."""

    OK = "ok"
    """It lies in the run's mailbox, or did before."""
    FULL = "full"
    """The mailbox holds as much as it may."""
    MISSING = "missing"
    """The run is not stored."""
    ENDED = "ended"
    """The run has ended."""


@dataclass(frozen=True, slots=True)
class MailBatch:
    """Some of a run's mail, in the order in which it came."""

    mail: Sequence[Mail]
    last: int
    """The number up to which this is all that there is."""
    more: bool
    """Whether there is more after that."""


class MailCalls(Protocol):
    """See the module."""

    async def signal_run(self, run_id: str, name: str, payload: bytes, *, once: str, keep_ms: int) -> Delivery:
        """Put a signal into a run's mailbox; once within `keep_ms` for each `once` (a hash)."""
        ...

    def read_mail(self, run_id: str, after: int) -> Answer[MailBatch]:
        """Read the mail of a run that came after the one of this number, a bounded piece at a time."""
        ...

    async def list_buffered(self, run_ids: Sequence[str]) -> list[BufferedNames]:
        """Of these runs, those that have mail, with the names of the signals among it: bounded for each of them."""
        ...
