"""How long finished runs are kept."""

from __future__ import annotations

from dataclasses import dataclass

from redisflow.durations import Duration, to_ms

FOR_EVER_MS = 1 << 52
"""More than any clock shows, and a whole number to Lua."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long the runs of a workflow are kept after their end, by how they ended; None keeps them for ever.

    A wrong duration raises InvalidDuration here, where the policy is written.
    """

    succeeded: Duration | None = "24h"
    failed: Duration | None = "7d"
    canceled: Duration | None = "24h"

    def __post_init__(self) -> None:
        """Refuse what is no duration."""
        self.by_status_ms()

    def by_status_ms(self) -> dict[str, int]:
        """Milliseconds by status."""
        kept = {"succeeded": self.succeeded, "failed": self.failed, "canceled": self.canceled}
        return {status: FOR_EVER_MS if span is None else to_ms(span, what=status) for status, span in kept.items()}


def encode_policy(policies: list[Retention | None]) -> str:
    """As it is stored for one workflow, of which a process may have several versions: the longest of each counts."""
    if not any(policies):
        return ""
    kept = [(policy or Retention()).by_status_ms() for policy in policies]
    return " ".join(f"{status}={max(each[status] for each in kept)}" for status in kept[0])


def decode_policy(stored: str) -> dict[str, int]:
    """Milliseconds by status, from how it is stored; the defaults for what it does not say."""
    said = (part.partition("=") for part in stored.split())
    return {**Retention().by_status_ms(), **{status: int(ms) for status, _, ms in said}}
